-- The headline: domains surveyed, domains with a secure MX answer or denial (the
-- denominator), DANE domains, and their percentage, truncated to two decimals in integers; and
-- all of that without the domains whose chain only SHA-1 secures (RFC 9905). From
-- public/domain_counts alone.
WITH headline AS (
    SELECT 'all' AS dimension, NULL AS key,
        coalesce(sum(domains), 0) AS surveyed,
        coalesce(sum(domains) FILTER (WHERE mx_secure), 0) AS secure,
        coalesce(sum(domains) FILTER (WHERE dane_primary), 0) AS dane
    FROM domain_counts
    UNION ALL
    SELECT 'chain', 'without SHA-1',
        coalesce(sum(domains), 0),
        coalesce(sum(domains) FILTER (WHERE mx_secure), 0),
        coalesce(sum(domains) FILTER (WHERE dane_primary), 0)
    FROM domain_counts WHERE NOT sha1_only
),
split AS (
    SELECT status, detail, algorithm, sum(domains) AS domains
    FROM domain_counts GROUP BY ALL
)
SELECT 'domains' AS metric, dimension, key, surveyed AS value, 'domains' AS unit
FROM headline
UNION ALL
SELECT 'secure_mx_domains', dimension, key, secure, 'domains' FROM headline
UNION ALL
SELECT 'dane_domains', dimension, key, dane, 'domains' FROM headline
UNION ALL
SELECT 'dane_percentage', dimension, key, (dane * 10000 // secure) / 100.0, 'percent'
FROM headline WHERE secure > 0
UNION ALL
SELECT 'domains', 'status', status, sum(domains), 'domains' FROM split GROUP BY status
UNION ALL
SELECT 'no_mail_domains', 'reason', detail, sum(domains), 'domains'
FROM split WHERE status = 'no_mail' AND detail IS NOT NULL GROUP BY detail
UNION ALL
SELECT 'lookup_failed_domains', 'stage', detail, sum(domains), 'domains'
FROM split WHERE status = 'lookup_failed' AND detail IS NOT NULL GROUP BY detail
UNION ALL
SELECT 'broken_domains', 'level', detail, sum(domains), 'domains'
FROM split WHERE status = 'broken' AND detail IS NOT NULL GROUP BY detail
UNION ALL
SELECT 'domains', 'algorithm', CAST(algorithm AS VARCHAR), sum(domains), 'domains'
FROM split WHERE algorithm IS NOT NULL GROUP BY algorithm
