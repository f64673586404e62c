-- $1 run, $2 <= bucket < $3, $4 passes; the condition is that of index domain_mx_failing
SELECT m.bucket, m.domain, coalesce(d.ns, '{}'), m.passes, m.first_asked, m.ede_code, m.ede_text
FROM domain_mx m
LEFT JOIN delegation d ON d.bucket = m.bucket AND d.domain = m.domain
  AND d.bucket >= $2 AND d.bucket < $3
WHERE m.run_id = $1 AND m.bucket >= $2 AND m.bucket < $3
  AND m.outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
  AND m.passes < $4
ORDER BY m.bucket, m.domain
