-- MX hosts that the run's domains want and that have no row. $1 run, $2 <= bucket < $3.
-- Index: the keys of wanted_host and of mx_host, each read for these buckets only.
SELECT w.bucket, w.host, NULL, NULL, NULL, NULL, NULL
FROM wanted_host w
WHERE w.run_id = $1 AND w.bucket >= $2 AND w.bucket < $3
  AND NOT EXISTS (
    SELECT FROM mx_host h
    WHERE h.run_id = $1 AND h.bucket = w.bucket AND h.host = w.host
      AND h.bucket >= $2 AND h.bucket < $3)
ORDER BY w.bucket, w.host
