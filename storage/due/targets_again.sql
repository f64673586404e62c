-- What attempt $2 - 1 did not settle, connected to no later than $5; the longest ago first, at
-- most $6. $1 run, $3 statuses that another attempt may better, $4 runs before this one whose
-- rows are kept. Index: smtp_probe_again (attempt, connected), whose condition $3 repeats; the
-- key of smtp_probe, once a row.
-- `earlier`: where nothing matched, certificates that this server showed in those runs and does
-- not show now, leaves and the newest first; a record that fits a leaf is stale, one that fits an
-- authority is of a retired issuer. Few of them, and none of a size that no mail server needs: a
-- shard must stay small.
SELECT b.bucket, b.address, b.tlsa_digest, b.operator, b.sni, $2::smallint AS attempt, b.host,
  b.tlsa, b.dns_asked,
  ARRAY(
    SELECT ranked.der
    FROM (
      SELECT c.der, shown.depth, shown.run_id, shown.sha256,
        row_number() OVER (
          PARTITION BY shown.depth = 1 ORDER BY shown.depth, shown.run_id DESC, shown.sha256
        ) AS place
      FROM (
        SELECT one.sha256, min(one.depth) AS depth, max(e.run_id) AS run_id
        FROM smtp_probe e CROSS JOIN unnest(e.chain) WITH ORDINALITY AS one (sha256, depth)
        WHERE b.status = 'mismatch'
          AND e.run_id = ANY ($4::integer[]) AND e.bucket = b.bucket AND e.address = b.address
          AND e.operator = b.operator
          AND one.sha256 <> ALL (b.chain)
        GROUP BY one.sha256
      ) AS shown
      JOIN certificate c USING (sha256)
      WHERE octet_length(c.der) <= 8192
    ) AS ranked
    WHERE ranked.place <= 4
    ORDER BY ranked.depth, ranked.run_id DESC, ranked.sha256
  ) AS earlier
FROM smtp_probe b
WHERE b.run_id = $1 AND b.attempt = $2 - 1 AND b.connected <= $5
  AND b.status = ANY ($3::text[])
  AND NOT EXISTS (
    SELECT FROM smtp_probe p
    WHERE p.run_id = $1 AND p.bucket = b.bucket AND p.address = b.address
      AND p.tlsa_digest = b.tlsa_digest AND p.operator = b.operator AND p.sni = b.sni
      AND p.attempt = $2)
ORDER BY b.connected
LIMIT $6
