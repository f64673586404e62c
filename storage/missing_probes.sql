-- $1 run. Every candidate of the first attempt, those with a row too (the sample of SNI names
-- must not depend on what was done before); in the order of the key, then of the SNI's digest.
SELECT address, tlsa_digest, sni, min(host) AS host, min(tlsa) AS tlsa,
  min(last_asked) AS dns_asked,
  EXISTS (
    SELECT FROM smtp_probe p
    WHERE p.run_id = $1 AND p.attempt = 1 AND p.address = c.address
      AND p.tlsa_digest = c.tlsa_digest AND p.sni = c.sni) AS done
FROM (
  SELECT unnest(h.addresses) AS address, h.tlsa_digest, coalesce(h.tlsa_base, h.host) AS sni,
    h.host, h.tlsa, h.last_asked
  FROM mx_host h
  WHERE h.run_id = $1 AND h.status IS NULL AND h.tlsa_digest IS NOT NULL
) AS c
GROUP BY address, tlsa_digest, sni
ORDER BY address, tlsa_digest, md5(sni), sni
