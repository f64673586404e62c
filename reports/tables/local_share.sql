-- $1 run: by stage, the targets, those whose outcome is our own fault, and the operators
-- behind most of these. What a stranger's chain or TLS caused (`undecided`) is not ours.
WITH outcome AS (
    SELECT 'resolve' AS stage, m.outcome IN ('unanswered', 'local_resolver') AS ours,
        coalesce(v.dns_operator[1], '(unknown)') AS operator
    FROM domain_mx m LEFT JOIN domain_verdict v USING (run_id, bucket, domain)
    WHERE m.run_id = $1
    UNION ALL
    -- What the DNS shows as good, or beyond a validator's limits, a stranger can cause.
    SELECT 'hosts', status = 'local_error' AND dns_cause IS NULL, operator
    FROM host_verdict WHERE run_id = $1
    UNION ALL
    SELECT 'probe',
        v.status = 'local_error_smtp' AND v.undecided IS NULL,
        v.operator
    FROM host_verdict v WHERE v.run_id = $1 AND v.class IN ('F', 'P', 'P°', 'Q')
),
behind AS (
    SELECT stage, operator, count(*) AS ours,
        row_number() OVER (PARTITION BY stage ORDER BY count(*) DESC, operator) AS place
    FROM outcome WHERE ours GROUP BY stage, operator
)
SELECT stage, count(*) AS targets, count(*) FILTER (WHERE ours) AS ours,
    ARRAY(
        SELECT behind.operator || ' (' || behind.ours || ')'
        FROM behind WHERE behind.stage = outcome.stage AND place <= 3
        ORDER BY place
    ) AS operators
FROM outcome
GROUP BY stage
ORDER BY stage DESC
