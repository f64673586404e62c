-- What the first round did not settle, asked no later than $2, at most $3 rows. $1 run.
-- Index: tlsa_server_unsettled, whose condition this repeats; the key, once a row.
SELECT t.bucket, t.host, t.name, 2 AS round
FROM tlsa_server t
WHERE t.run_id = $1 AND t.round = 1 AND NOT t.settled AND t.asked <= $2
  AND NOT EXISTS (
    SELECT FROM tlsa_server later
    WHERE later.run_id = $1 AND later.bucket = t.bucket AND later.host = t.host
      AND later.round = 2)
ORDER BY t.asked
LIMIT $3
