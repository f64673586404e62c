-- Domains with a TLSA host (measurement, section 7: T) whose policies were not asked for.
-- $1 run, $2 <= bucket < $3. Index: the keys of domain_verdict, domain_policy and delegation.
SELECT v.bucket, v.domain, coalesce(d.ns, '{}')
FROM domain_verdict v
LEFT JOIN delegation d ON d.bucket = v.bucket AND d.domain = v.domain
  AND d.bucket >= $2 AND d.bucket < $3
WHERE v.run_id = $1 AND v.bucket >= $2 AND v.bucket < $3
  AND v.host_class && '{F,P,P°,Q}'::text[]
  AND NOT EXISTS (
    SELECT FROM domain_policy p
    WHERE p.run_id = $1 AND p.bucket = v.bucket AND p.domain = v.domain
      AND p.bucket >= $2 AND p.bucket < $3)
ORDER BY v.bucket, v.domain
