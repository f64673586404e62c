-- Domains that the two headlines gained and lost since the last full run of the month before, by
-- reason, and by what they were before or are now (unsettled: not confirmed). Gained minus lost
-- is the difference. Without such a run: no rows.
WITH change AS (
    SELECT c.*,
        CASE c.headline WHEN 'dane_primary' THEN 'dane_domains_' ELSE 'secure_mx_domains_' END
            || c.direction AS metric,
        coalesce(n.status, c.status_now, 'not surveyed') AS settled_now
    FROM changes c LEFT JOIN settled_domains n USING (bucket, domain)
),
compared AS (SELECT 1 FROM previous_month_domains LIMIT 1),
metric AS (
    SELECT unnest(['dane_domains_gained', 'dane_domains_lost', 'secure_mx_domains_gained',
        'secure_mx_domains_lost']) AS metric
    FROM compared
)
SELECT metric, 'all' AS dimension, NULL AS key, count(change.domain) AS value, 'domains' AS unit
FROM metric LEFT JOIN change USING (metric) GROUP BY metric
UNION ALL
SELECT metric, 'reason', reason, count(*), 'domains' FROM change GROUP BY metric, reason
UNION ALL
SELECT metric, 'status_before',
    CASE WHEN status_before IN ('broken', 'lookup_failed') THEN 'broken or failing'
        ELSE coalesce(status_before, 'not surveyed') END,
    count(*), 'domains'
FROM change WHERE direction = 'gained' GROUP BY ALL
UNION ALL
SELECT metric, 'status_now', settled_now, count(*), 'domains'
FROM change WHERE direction = 'lost' GROUP BY ALL
UNION ALL
SELECT CASE headline WHEN 'dane_primary' THEN 'dane_domains_' ELSE 'secure_mx_domains_' END
        || direction,
    'reason and operator',
    concat_ws(' ', reason,
        CASE WHEN reason = 'mx_moved'
            THEN concat_ws(' > ', coalesce(operator_before, '(none)'), operator_now)
            WHEN direction = 'gained' THEN operator_now ELSE operator_before END),
    sum(domains), 'domains'
FROM public_changes GROUP BY ALL
