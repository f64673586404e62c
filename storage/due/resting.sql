-- What waits in a run: rows that failed, by stage and number of lookups or attempts so far, and
-- when the first of them was last asked. $1 run. Index: domain_mx_failing, mx_host_failing and
-- smtp_probe_again, all of each: they are few.
SELECT 'resolve' AS stage, passes, count(*) AS rows, min(last_asked) AS first
FROM domain_mx
WHERE run_id = $1 AND outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
GROUP BY passes
UNION ALL
SELECT 'hosts', passes, count(*), min(last_asked)
FROM mx_host
WHERE run_id = $1
  AND (a_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR aaaa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR tlsa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
    OR status IN ('local_error', 'address_failed', 'tlsa_failed'))
GROUP BY passes
UNION ALL
SELECT 'probe', b.attempt, count(*), min(b.connected)
FROM smtp_probe b
WHERE b.run_id = $1
  AND b.status IN ('mismatch', 'ta_expired', 'name_mismatch', 'no_starttls',
    'starttls_rejected', 'tls_failed', 'tempfail', 'refused', 'unreachable', 'local_error_smtp')
  AND NOT EXISTS (
    SELECT FROM smtp_probe p
    WHERE p.run_id = $1 AND p.bucket = b.bucket AND p.address = b.address
      AND p.tlsa_digest = b.tlsa_digest AND p.operator = b.operator AND p.sni = b.sni
      AND p.attempt = b.attempt + 1)
GROUP BY b.attempt
ORDER BY 1, 2
