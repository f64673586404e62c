-- When the next failing domain after $2 lookups was asked, later than $3. $1 run.
-- Index: domain_mx_failing (passes, last_asked), its first row.
SELECT min(last_asked)
FROM domain_mx
WHERE run_id = $1
  AND outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
  AND passes = $2 AND last_asked > $3
