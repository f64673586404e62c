-- Signed delegations by digest type of their DS records (RFC 4034 section 5.1.3), by algorithm
-- of the key, and by kind of denial of existence. A domain counts once for each.
WITH record AS (
    SELECT DISTINCT bucket, domain, string_split(record, ' ')[2] AS algorithm,
        string_split(record, ' ')[3] AS digest_type
    FROM (SELECT bucket, domain, unnest(ds) AS record FROM domains)
)
SELECT 'ds_domains' AS metric, 'digest type' AS dimension, digest_type AS key,
    count(DISTINCT (bucket, domain)) AS value, 'domains' AS unit
FROM record GROUP BY digest_type
UNION ALL
SELECT 'ds_domains', 'algorithm', algorithm, count(DISTINCT (bucket, domain)), 'domains'
FROM record GROUP BY algorithm
UNION ALL
SELECT 'denial_domains', 'kind',
    CASE WHEN nsec3param_iterations IS NULL THEN 'NSEC' ELSE 'NSEC3' END, count(*), 'domains'
FROM domains WHERE dnskey_outcome = 'secure' GROUP BY ALL
