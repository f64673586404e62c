WITH name AS (
    SELECT host, address, list(name ORDER BY name) AS names
    FROM (SELECT host, address, unnest(certificate_names) AS name FROM addresses)
    SEMI JOIN public_name USING (name)
    GROUP BY ALL
)
SELECT a.* REPLACE (coalesce(name.names, []) AS certificate_names)
FROM addresses a SEMI JOIN public_host USING (host)
LEFT JOIN name USING (host, address)
