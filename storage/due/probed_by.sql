-- How many targets each operator has at each address so far. $1 run.
-- No index: one read of the run's partition, at the start of a process.
SELECT operator, address, count(*)::integer AS targets
FROM smtp_probe
WHERE run_id = $1 AND attempt = 1
GROUP BY operator, address
