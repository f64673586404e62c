-- When the first of what servers_again.sql gives was asked. $1 run. Index: as there.
SELECT min(t.asked)
FROM tlsa_server t
WHERE t.run_id = $1 AND t.round = 1 AND NOT t.settled
  AND NOT EXISTS (
    SELECT FROM tlsa_server later
    WHERE later.run_id = $1 AND later.bucket = t.bucket AND later.host = t.host
      AND later.round = 2)
