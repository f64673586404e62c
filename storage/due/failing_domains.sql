-- Domains that fail, after $2 lookups, asked no later than $3; the longest ago first, at most $4.
-- $1 run. Index: domain_mx_failing (passes, last_asked), whose condition this repeats; then the
-- key of delegation, once a row.
SELECT m.bucket, m.domain, coalesce(d.ns, '{}'), m.passes, m.first_asked, m.ede_code, m.ede_text,
  m.last_asked
FROM (
  SELECT bucket, domain, passes, first_asked, ede_code, ede_text, last_asked
  FROM domain_mx
  WHERE run_id = $1
    AND outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    AND passes = $2 AND last_asked <= $3
  ORDER BY last_asked
  LIMIT $4
) AS m
LEFT JOIN delegation d ON d.bucket = m.bucket AND d.domain = m.domain
ORDER BY m.last_asked
