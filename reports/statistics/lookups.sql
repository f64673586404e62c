-- Lookups by outcome, the failing ones by extended DNS error, and what asking cost.
SELECT 'mx_lookups' AS metric, 'outcome' AS dimension,
    mx_outcome || CASE WHEN mx_outcome IN ('nodata', 'nxdomain')
        THEN CASE WHEN mx_answer_secure THEN ' secure' ELSE ' insecure' END ELSE '' END AS key,
    count(*) AS value, 'lookups' AS unit
FROM domains GROUP BY ALL
UNION ALL
SELECT 'failing_mx_lookups', 'ede_code', coalesce(CAST(ede_code AS VARCHAR), 'none'),
    count(*), 'lookups'
FROM domains WHERE mx_outcome IN ('bogus', 'servfail') GROUP BY ede_code
UNION ALL
SELECT 'tlsa_lookups', 'outcome', tlsa_outcome, count(*), 'lookups'
FROM mx_hosts WHERE tlsa_outcome IS NOT NULL GROUP BY tlsa_outcome
UNION ALL
SELECT 'questions', 'table', 'domains', sum(questions), 'questions'
FROM domains HAVING count(*) > 0
UNION ALL
SELECT 'questions', 'table', 'mx_hosts', sum(questions), 'questions'
FROM mx_hosts HAVING count(*) > 0
