-- $1 run, $2 <= bucket < $3, $4 passes; the condition is that of index mx_host_failing
SELECT h.bucket, h.host, h.passes, h.first_asked, h.ede_code, h.ede_text
FROM mx_host h
WHERE h.run_id = $1 AND h.bucket >= $2 AND h.bucket < $3
  AND (h.a_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR h.aaaa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR h.tlsa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR h.status IN ('local_error', 'address_failed', 'tlsa_failed'))
  AND h.passes < $4
ORDER BY h.bucket, h.host
