-- $1 run. Every candidate of the first attempt, those with a row too (the sample of SNI names
-- must not depend on what was done before); in the order of the key, then of the SNI's digest.
-- A base may serve hosts of several operators (aliases): each operator's is a probe of its own,
-- and who operates a host is not told by the database. `done`: whose probe of it has a row.
SELECT c.address, c.tlsa_digest, c.sni, c.host, c.tlsa, c.last_asked AS dns_asked,
  coalesce(p.operators, '{}') AS done
FROM (
  SELECT unnest(h.addresses) AS address, h.tlsa_digest, coalesce(h.tlsa_base, h.host) AS sni,
    h.host, h.tlsa, h.last_asked
  FROM mx_host h
  WHERE h.run_id = $1 AND h.status IS NULL AND h.tlsa_digest IS NOT NULL
) AS c
LEFT JOIN (
  SELECT address, tlsa_digest, sni, array_agg(operator) AS operators
  FROM smtp_probe
  WHERE run_id = $1 AND attempt = 1
  GROUP BY address, tlsa_digest, sni
) AS p USING (address, tlsa_digest, sni)
ORDER BY c.address, c.tlsa_digest, md5(c.sni), c.sni, c.host
