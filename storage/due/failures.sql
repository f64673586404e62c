-- Names that fail after $2 lookups or more and whose authorities were not asked, at most $3.
-- Also what the second resolver answers instead of the first: the servers decide whether it is
-- our own disagreement, or one of theirs that fails. $1 run. Index: domain_mx_failing and
-- domain_mx_disputed, mx_host_failed, whose conditions these repeat; the keys of delegation and
-- authority, once a row.
SELECT DISTINCT f.bucket, f.name, f.rrtype, f.ns
FROM (
  SELECT m.bucket, m.domain AS name, 'MX' AS rrtype, coalesce(d.ns, '{}') AS ns
  FROM (
    SELECT bucket, domain FROM domain_mx
    WHERE run_id = $1 AND outcome IN ('bogus', 'servfail') AND passes >= $2
    UNION ALL
    SELECT bucket, domain FROM domain_mx
    WHERE run_id = $1 AND first_look_outcome IS NOT NULL AND passes >= $2
  ) AS m
  LEFT JOIN delegation d ON d.bucket = m.bucket AND d.domain = m.domain
  UNION ALL
  SELECT h.bucket, q.name, q.rrtype, '{}'
  FROM mx_host h, unnest(h.failed_names, h.failed_types) AS q (name, rrtype)
  WHERE h.run_id = $1 AND h.failed_names <> '{}' AND h.passes >= $2
) AS f
WHERE NOT EXISTS (
  SELECT FROM authority a
  WHERE a.run_id = $1 AND a.bucket = f.bucket AND a.name = f.name AND a.rrtype = f.rrtype)
ORDER BY f.bucket, f.name, f.rrtype
LIMIT $3
