-- The headline: domains surveyed, domains with a secure MX answer or denial (the
-- denominator), DANE domains, and their percentage, truncated to two decimals in integers.
WITH headline AS (
    SELECT count(*) AS surveyed,
        count(*) FILTER (WHERE mx_secure) AS secure,
        count(*) FILTER (WHERE dane_primary) AS dane
    FROM domains
),
split AS (
    SELECT status, stage, reason, level, deliverable, count(*) AS domains
    FROM domains
    GROUP BY ALL
)
SELECT 'domains' AS metric, 'all' AS dimension, '' AS key,
    surveyed AS value, 'domains' AS unit
FROM headline
UNION ALL
SELECT 'secure_mx_domains', 'all', '', secure, 'domains' FROM headline
UNION ALL
SELECT 'dane_domains', 'all', '', dane, 'domains' FROM headline
UNION ALL
SELECT 'dane_percentage', 'all', '', (dane * 10000 // secure) / 100.0, 'percent'
FROM headline WHERE secure > 0
UNION ALL
SELECT 'domains', 'status', status, sum(domains), 'domains' FROM split GROUP BY status
UNION ALL
SELECT 'no_mail_domains', 'reason', reason, sum(domains), 'domains'
FROM split WHERE reason IS NOT NULL GROUP BY reason
UNION ALL
SELECT 'lookup_failed_domains', 'stage', stage, sum(domains), 'domains'
FROM split WHERE stage IS NOT NULL GROUP BY stage
UNION ALL
SELECT 'broken_domains', 'level', level, sum(domains), 'domains'
FROM split WHERE level IS NOT NULL GROUP BY level
UNION ALL
SELECT 'domains', 'deliverable',
    CASE deliverable WHEN true THEN 'yes' WHEN false THEN 'no' ELSE 'unknown' END,
    sum(domains), 'domains'
FROM split GROUP BY deliverable
