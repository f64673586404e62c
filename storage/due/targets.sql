-- MX hosts whose addresses are to be connected to, with all that is known of them. $1 run,
-- $2 <= bucket < $3. `hosts`: of the domains that want it, how many MX hosts the one with the
-- fewest has. Index: mx_host_target and the key of wanted_host, each for these buckets only.
SELECT h.bucket, h.host, h.operator, h.addresses, h.tlsa_digest,
  coalesce(h.tlsa_base, h.host) AS sni, h.tlsa, h.last_asked AS dns_asked,
  coalesce(w.hosts, 1) AS hosts
FROM mx_host h
LEFT JOIN wanted_host w ON w.run_id = $1 AND w.bucket = h.bucket AND w.host = h.host
  AND w.bucket >= $2 AND w.bucket < $3
WHERE h.run_id = $1 AND h.bucket >= $2 AND h.bucket < $3
  AND h.status IS NULL AND h.tlsa_digest IS NOT NULL
ORDER BY h.bucket, h.host
