-- MX hosts of which a lookup fails, after $2 lookups, asked no later than $3; the longest ago
-- first, at most $4. $1 run. Index: mx_host_failing (passes, last_asked), whose condition this
-- repeats.
SELECT bucket, host, passes, first_asked, ede_code, ede_text, last_asked
FROM mx_host
WHERE run_id = $1
  AND (a_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR aaaa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR tlsa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR status IN ('local_error', 'address_failed', 'tlsa_failed'))
  AND passes = $2 AND last_asked <= $3
ORDER BY last_asked
LIMIT $4
