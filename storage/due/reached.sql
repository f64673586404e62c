-- $1 earlier runs, $2 buckets, $3 the addresses in them: those of which a run saw a certificate.
-- Index: the key of smtp_probe, for these addresses only.
SELECT DISTINCT a.address
FROM unnest($2::smallint[], $3::text[]) AS a (bucket, address)
JOIN smtp_probe p ON p.run_id = ANY ($1::integer[]) AND p.bucket = a.bucket
  AND p.address = a.address AND cardinality(p.chain) > 0
