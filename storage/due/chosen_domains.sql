-- Domains that a base run's verdicts choose and that have no row. $1 run, $2 <= bucket < $3,
-- $4 base run, $5 its domain statuses that choose a name. Index: the keys of domain_verdict,
-- delegation and domain_mx, each read for these buckets only.
SELECT d.bucket, d.domain, d.ns, NULL, NULL, NULL, NULL, NULL
FROM domain_verdict v
JOIN delegation d ON d.bucket = v.bucket AND d.domain = v.domain
WHERE v.run_id = $4 AND v.bucket >= $2 AND v.bucket < $3
  AND v.status = ANY ($5::text[])
  AND d.bucket >= $2 AND d.bucket < $3
  AND d.missing_since IS NULL
  AND NOT EXISTS (
    SELECT FROM domain_mx m
    WHERE m.run_id = $1 AND m.bucket = d.bucket AND m.domain = d.domain
      AND m.bucket >= $2 AND m.bucket < $3)
ORDER BY d.bucket, d.domain
