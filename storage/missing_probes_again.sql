-- $1 run, $2 attempt, $3 statuses that another attempt may better
SELECT b.bucket, b.address, b.tlsa_digest, b.operator, b.sni, $2::smallint, b.host, b.tlsa,
  b.dns_asked
FROM smtp_probe b
WHERE b.run_id = $1 AND b.attempt = $2 - 1
  AND b.status = ANY ($3::text[])
  AND NOT EXISTS (
    SELECT FROM smtp_probe p
    WHERE p.run_id = $1 AND p.bucket = b.bucket AND p.address = b.address
      AND p.tlsa_digest = b.tlsa_digest AND p.operator = b.operator AND p.sni = b.sni
      AND p.attempt = $2)
ORDER BY b.bucket, b.address, b.tlsa_digest, b.operator, b.sni
