-- $1 run: by stage, the targets and those whose outcome is our own fault
SELECT 'resolve' AS stage, count(*) AS targets,
    count(*) FILTER (WHERE outcome IN ('unanswered', 'local_resolver')) AS ours
FROM domain_mx WHERE run_id = $1
UNION ALL
SELECT 'hosts', count(*), count(*) FILTER (WHERE status = 'local_error')
FROM host_verdict WHERE run_id = $1
UNION ALL
SELECT 'probe', count(*), count(*) FILTER (WHERE status = 'local_error_smtp')
FROM host_verdict WHERE run_id = $1 AND class IN ('F', 'P', 'P°', 'Q')
