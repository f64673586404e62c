-- Hosts with a TLSA RRset whose servers were not asked for it, of buckets from $2 on, at most $3.
-- $1 run. Index: mx_host_target, whose condition this repeats; the key of tlsa_server, once a row.
SELECT h.bucket, h.host, '_25._tcp.' || h.tlsa_base AS name, 1 AS round
FROM mx_host h
WHERE h.run_id = $1 AND h.bucket >= $2 AND h.status IS NULL AND h.tlsa_digest IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM tlsa_server t
    WHERE t.run_id = $1 AND t.bucket = h.bucket AND t.host = h.host AND t.round = 1)
ORDER BY h.bucket
LIMIT $3
