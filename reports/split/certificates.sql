-- The chains of public sessions. An issuer is named if enough domains depend on hosts whose
-- chain has a certificate of it; a subject, if it is such an issuer. Of the names, those
-- that are public anyway, and wildcards right below them.
WITH session AS (
    SELECT host, chain, other_chain
    FROM probes JOIN public_host USING (host)
    WHERE public_host.class = 'F' OR probes.status NOT IN ('mismatch', 'ta_expired',
        'name_mismatch', 'no_starttls', 'starttls_rejected', 'tls_failed')
),
shown AS (
    SELECT host, chain[1] AS leaf, unnest(chain) AS sha256 FROM session
    UNION ALL
    SELECT host, other_chain[1], unnest(other_chain) FROM session
),
wanted AS (SELECT DISTINCT sha256 FROM shown),
issued AS (
    SELECT DISTINCT s.host, c.issuer
    FROM shown s JOIN certificates c USING (sha256)
    WHERE NOT (s.sha256 = s.leaf AND coalesce(c.self_issued, true))
),
issuer AS (
    SELECT issuer FROM issued JOIN mx_hosts USING (host)
    GROUP BY issuer HAVING sum(domains) >= public_floor()
),
name AS (
    SELECT sha256, list(name ORDER BY name) AS names
    FROM (SELECT sha256, unnest(names) AS name FROM certificates SEMI JOIN wanted USING (sha256))
    WHERE name IN (FROM public_name)
        OR (name LIKE '*.%' AND substr(name, 3) IN (FROM public_name))
    GROUP BY sha256
)
SELECT c.* REPLACE (
    CASE WHEN c.subject IN (FROM issuer) THEN c.subject END AS subject,
    CASE WHEN c.issuer IN (FROM issuer) THEN c.issuer END AS issuer,
    coalesce(name.names, []) AS names
)
FROM certificates c SEMI JOIN wanted USING (sha256)
LEFT JOIN name USING (sha256)
ORDER BY c.sha256
