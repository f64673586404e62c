-- By zone: surveyed domains, secure MX, DANE, and the percentage. A zone with too few of them is
-- counted with others.
WITH counted AS (
    SELECT zone, count(*) AS domains,
        count(*) FILTER (WHERE mx_secure) AS secure,
        count(*) FILTER (WHERE dane_primary) AS dane
    FROM domains GROUP BY zone
),
cell AS (
    SELECT metric, zone, domains
    FROM (
        SELECT 'domains' AS metric, zone, domains FROM counted
        UNION ALL SELECT 'secure_mx_domains', zone, secure FROM counted
        UNION ALL SELECT 'dane_domains', zone, dane FROM counted
    )
    WHERE domains > 0
),
placed AS (
    SELECT metric, zone, domains,
        sum(domains) FILTER (WHERE domains < public_floor()) OVER (PARTITION BY metric) AS rest,
        row_number() OVER (
            PARTITION BY metric, domains >= public_floor() ORDER BY domains, zone
        ) AS place
    FROM cell
),
folded AS (
    SELECT metric, named(zone, domains, rest, place) AS key, CAST(sum(domains) AS BIGINT) AS domains
    FROM placed GROUP BY ALL
)
SELECT metric, 'zone' AS dimension, key, domains AS value, 'domains' AS unit FROM folded
UNION ALL
SELECT 'dane_percentage', 'zone', d.key, (d.domains * 10000 // s.domains) / 100.0, 'percent'
FROM folded d JOIN folded s USING (key)
WHERE d.metric = 'dane_domains' AND s.metric = 'secure_mx_domains'
    AND NOT names_nobody(key)
