-- $1 run. Every candidate of the first attempt, those with a row too (the sample of SNI names
-- must not depend on what was done before); in the order of the key, then of the SNI's digest.
SELECT c.address, c.tlsa_digest, c.sni, min(c.host) AS host, min(c.tlsa) AS tlsa,
  min(c.last_asked) AS dns_asked, count(p.address) > 0 AS done
FROM (
  SELECT unnest(h.addresses) AS address, h.tlsa_digest, coalesce(h.tlsa_base, h.host) AS sni,
    h.host, h.tlsa, h.last_asked
  FROM mx_host h
  WHERE h.run_id = $1 AND h.status IS NULL AND h.tlsa_digest IS NOT NULL
) AS c
LEFT JOIN smtp_probe p
  ON p.run_id = $1 AND p.attempt = 1 AND p.address = c.address
    AND p.tlsa_digest = c.tlsa_digest AND p.sni = c.sni
GROUP BY c.address, c.tlsa_digest, c.sni
ORDER BY c.address, c.tlsa_digest, md5(c.sni), c.sni
