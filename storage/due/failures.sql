-- Names that failed $2 lookups or more and whose authorities were not asked, at most $3. $1 run.
-- Index: domain_mx_failing and mx_host_failing (passes, last_asked), whose conditions those on
-- outcomes imply; the keys of delegation and authority, once a row.
-- TLSA is asked at the expanded name of a secure alias, then at the host's own (RFC 7672 section
-- 2.2.2). Which of them failed is in no column, so both are asked about; beyond 253 characters
-- there is no room for the prefix, and TLSA was not asked.
SELECT DISTINCT f.bucket, f.name, f.rrtype, f.ns
FROM (
  SELECT m.bucket, m.domain AS name, 'MX' AS rrtype, coalesce(d.ns, '{}') AS ns
  FROM domain_mx m
  LEFT JOIN delegation d ON d.bucket = m.bucket AND d.domain = m.domain
  WHERE m.run_id = $1 AND m.outcome IN ('bogus', 'servfail') AND m.passes >= $2
  UNION ALL
  SELECT h.bucket, q.name, q.rrtype, '{}'
  FROM mx_host h,
    LATERAL (VALUES
      (h.host, 'A', h.a_outcome),
      (h.host, 'AAAA', h.aaaa_outcome),
      ('_25._tcp.' || h.host, 'TLSA', h.tlsa_outcome),
      ('_25._tcp.' || CASE WHEN h.a_secure OR h.aaaa_secure
        THEN h.cname_chain[array_upper(h.cname_chain, 1)] END, 'TLSA', h.tlsa_outcome))
      AS q (name, rrtype, outcome)
  WHERE h.run_id = $1 AND h.passes >= $2
    AND (h.a_outcome IN ('bogus', 'servfail')
      OR h.aaaa_outcome IN ('bogus', 'servfail')
      OR h.tlsa_outcome IN ('bogus', 'servfail'))
    AND q.outcome IN ('bogus', 'servfail')
    AND length(q.name) <= 253
) AS f
WHERE NOT EXISTS (
  SELECT FROM authority a
  WHERE a.run_id = $1 AND a.bucket = f.bucket AND a.name = f.name AND a.rrtype = f.rrtype)
ORDER BY f.bucket, f.name, f.rrtype
LIMIT $3
