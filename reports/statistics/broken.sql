-- Confirmed breakage and failing lookups, by what is broken and by operator; how many domains
-- suffer from what is only suspected. Operators with too few domains are counted together.
WITH host AS (
    SELECT DISTINCT domain, status
    FROM breakages WHERE state = 'confirmed' AND operator_kind = 'mx'
),
affected AS (
    SELECT operator_kind, operator, count(DISTINCT domain) AS domains
    FROM breakages WHERE state = 'confirmed'
    GROUP BY operator_kind, operator
),
placed AS (
    SELECT *,
        sum(domains) FILTER (WHERE domains < public_floor()) OVER (PARTITION BY operator_kind)
            AS rest,
        row_number() OVER (
            PARTITION BY operator_kind, domains >= public_floor() ORDER BY domains, operator
        ) AS place
    FROM affected
)
SELECT 'broken_domains' AS metric, 'host_status' AS dimension, status AS key,
    count(*) AS value, 'domains' AS unit
FROM host GROUP BY status
UNION ALL
SELECT 'breakages', 'state', operator_kind || ' ' || state, count(DISTINCT domain), 'domains'
FROM breakages GROUP BY operator_kind, state
UNION ALL
SELECT 'affected_domains', 'state', state, count(DISTINCT domain), 'domains'
FROM breakages GROUP BY state
UNION ALL
SELECT CASE operator_kind WHEN 'mx' THEN 'confirmed_broken_domains'
        ELSE 'confirmed_failing_domains' END,
    operator_kind || '_operator', named(operator, domains, rest, place), sum(domains), 'domains'
FROM placed GROUP BY ALL
