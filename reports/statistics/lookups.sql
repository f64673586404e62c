-- Lookups by outcome, the failing ones by extended DNS error, and what asking cost. A failing
-- lookup that is not confirmed is unsettled.
SELECT 'mx_lookups' AS metric, 'outcome' AS dimension,
    CASE WHEN mx_outcome IN ('bogus', 'servfail') AND status = 'unsettled' THEN 'unsettled'
        WHEN mx_outcome IN ('nodata', 'nxdomain')
        THEN mx_outcome || CASE WHEN mx_answer_secure THEN ' secure' ELSE ' insecure' END
        ELSE mx_outcome END AS key,
    count(*) AS value, 'lookups' AS unit
FROM settled_domains GROUP BY ALL
UNION ALL
SELECT 'failing_mx_lookups', 'ede_code',
    CASE WHEN status = 'unsettled' THEN 'unsettled'
        ELSE coalesce(CAST(ede_code AS VARCHAR), 'none') END,
    count(*), 'lookups'
FROM settled_domains WHERE mx_outcome IN ('bogus', 'servfail') GROUP BY ALL
UNION ALL
SELECT 'tlsa_lookups', 'outcome',
    CASE WHEN unsettled AND tlsa_outcome IN ('bogus', 'servfail') THEN 'unsettled'
        ELSE tlsa_outcome END,
    count(*), 'lookups'
FROM settled_hosts WHERE tlsa_outcome IS NOT NULL GROUP BY ALL
UNION ALL
SELECT 'questions', 'table', 'domains', sum(questions), 'questions'
FROM domains HAVING count(*) > 0
UNION ALL
SELECT 'questions', 'table', 'mx_hosts', sum(questions), 'questions'
FROM mx_hosts HAVING count(*) > 0
