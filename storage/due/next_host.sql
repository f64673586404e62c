-- When the next failing MX host after $2 lookups was asked, later than $3. $1 run.
-- Index: mx_host_failing (passes, last_asked), its first row.
SELECT min(last_asked)
FROM mx_host
WHERE run_id = $1
  AND (a_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR aaaa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR tlsa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR status IN ('local_error', 'address_failed', 'tlsa_failed'))
  AND passes = $2 AND last_asked > $3
