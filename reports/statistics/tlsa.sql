-- TLSA records of MX hosts by usage, selector and matching type (RFC 6698 section 2.1).
WITH record AS (
    SELECT host, array_to_string(string_split(unnest(tlsa), ' ')[1:3], ' ') AS parameters
    FROM mx_hosts
    WHERE class IN ('F', 'P', 'P°', 'Q')
)
SELECT 'tlsa_records' AS metric, 'all' AS dimension, NULL AS key,
    count(*) AS value, 'records' AS unit
FROM record
UNION ALL
SELECT 'tlsa_records', 'parameters', parameters, count(*), 'records'
FROM record GROUP BY parameters
UNION ALL
SELECT 'tlsa_rrsets', 'all', NULL, count(DISTINCT tlsa_digest), 'RRsets'
FROM mx_hosts WHERE class IN ('F', 'P', 'P°', 'Q')
