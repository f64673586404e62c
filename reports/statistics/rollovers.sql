-- Rollovers of the last 31 days, and by grade. Without earlier looks: no rows.
WITH compared AS (
    SELECT 1 FROM recent_probes
    HAVING epoch_us(max(connected)) - epoch_us(min(connected)) > 43200000000
)
SELECT 'rollovers' AS metric, 'all' AS dimension, NULL AS key,
    (SELECT count(*) FROM rollovers) AS value, 'rollovers' AS unit
FROM compared
UNION ALL
SELECT 'rollovers', 'grade', grade, count(*), 'rollovers' FROM rollovers GROUP BY grade
