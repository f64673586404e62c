-- The names that may be public: those on which at least as many surveyed domains depend as
-- the floor says, by what they are to them.
SELECT kind, name, domains
FROM (
    SELECT 'mx_host' AS kind, name, count(*) AS domains
    FROM (SELECT unnest(list_distinct(mx_host)) AS name FROM domains) GROUP BY name
    UNION ALL
    SELECT 'mx_operator', name, count(*)
    FROM (SELECT unnest(mx_operator) AS name FROM domains) GROUP BY name
    UNION ALL
    SELECT 'dns_operator', name, count(*)
    FROM (SELECT unnest(dns_operator) AS name FROM domains) GROUP BY name
    UNION ALL
    SELECT 'zone', zone, count(*) FROM domains GROUP BY zone
)
WHERE domains >= public_floor()
ORDER BY kind, name
