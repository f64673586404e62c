-- Domains that have no row. $1 run, $2 <= bucket < $3.
-- Index: the keys of delegation and domain_mx, each read for these buckets only.
SELECT d.bucket, d.domain, d.ns, NULL, NULL, NULL, NULL, NULL
FROM delegation d
WHERE d.bucket >= $2 AND d.bucket < $3
  AND d.missing_since IS NULL
  AND NOT EXISTS (
    SELECT FROM domain_mx m
    WHERE m.run_id = $1 AND m.bucket = d.bucket AND m.domain = d.domain
      AND m.bucket >= $2 AND m.bucket < $3)
ORDER BY d.bucket, d.domain
