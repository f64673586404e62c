-- Broken domains by what is broken. By operator only what is confirmed: these rows are
-- public. Operators known only as hosts that are domains themselves are counted together.
WITH host AS (
    SELECT DISTINCT hash(domain) AS domain, host_status
    FROM (
        SELECT domain, unnest(host_status) AS host_status, unnest(host_class) AS class
        FROM domains
        WHERE status = 'broken'
    )
    WHERE class = 'F'
)
SELECT 'broken_domains' AS metric, 'host_status' AS dimension, host_status AS key,
    count(*) AS value, 'domains' AS unit
FROM host GROUP BY host_status
UNION ALL
SELECT 'breakages', 'state', operator_kind || ' ' || state, count(DISTINCT domain), 'domains'
FROM breakages GROUP BY operator_kind, state
UNION ALL
SELECT 'affected_domains', 'state', state, count(DISTINCT domain), 'domains'
FROM breakages GROUP BY state
UNION ALL
SELECT metric, dimension, key, sum(domains), 'domains'
FROM (
    SELECT CASE operator_kind WHEN 'mx' THEN 'confirmed_broken_domains'
            ELSE 'confirmed_failing_domains' END AS metric,
        operator_kind || '_operator' AS dimension,
        CASE WHEN bool_and(domain = host) THEN '(their own only)' ELSE operator END AS key,
        count(DISTINCT domain) AS domains
    FROM breakages
    WHERE state = 'confirmed'
    GROUP BY operator_kind, operator
)
GROUP BY metric, dimension, key
