-- Distinct leaf certificates of probed MX hosts, and TLS as it was spoken.
WITH leaf AS (
    SELECT DISTINCT chain[1] AS sha256 FROM probes WHERE len(chain) > 0
),
described AS (
    SELECT c.key_type || coalesce(' ' || c.key_bits, '') AS key, c.signature_algorithm,
        c.self_issued
    FROM leaf JOIN certificates c USING (sha256)
),
spoken AS (
    SELECT tls_version, count(DISTINCT address) AS addresses
    FROM probes WHERE tls_version IS NOT NULL GROUP BY tls_version
)
SELECT 'leaf_certificates' AS metric, 'all' AS dimension, NULL AS key,
    count(*) AS value, 'certificates' AS unit
FROM leaf
UNION ALL
SELECT 'leaf_certificates', 'key', coalesce(key, 'unparsed'), count(*), 'certificates'
FROM described GROUP BY 3
UNION ALL
SELECT 'leaf_certificates', 'signature_algorithm', coalesce(signature_algorithm, 'unparsed'),
    count(*), 'certificates'
FROM described GROUP BY 3
UNION ALL
SELECT 'leaf_certificates', 'self_issued',
    CASE self_issued WHEN true THEN 'yes' WHEN false THEN 'no' ELSE 'unparsed' END,
    count(*), 'certificates'
FROM described GROUP BY self_issued
UNION ALL
SELECT 'tls_addresses', 'tls_version', tls_version, addresses, 'addresses' FROM spoken
