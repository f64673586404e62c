-- $1 run: the MX hosts that were to be connected to, and those that nobody answered for
SELECT count(*) AS targets, count(*) FILTER (WHERE status = 'unreachable') AS unreachable
FROM host_verdict WHERE run_id = $1 AND class IN ('F', 'P', 'P°', 'Q')
