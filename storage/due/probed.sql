-- What was probed already at the addresses $3 with the buckets $2, first attempts only. $1 run.
-- Index: the key of smtp_probe, once an address.
SELECT p.address, p.tlsa_digest, p.operator, p.sni
FROM unnest($2::smallint[], $3::text[]) AS asked (bucket, address)
JOIN smtp_probe p ON p.run_id = $1 AND p.bucket = asked.bucket AND p.address = asked.address
WHERE p.attempt = 1
