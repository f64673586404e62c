-- Addresses $3, with their buckets $2, of which one of the runs $1 saw a certificate.
-- Index: the key of smtp_probe, for these addresses only.
SELECT DISTINCT a.address
FROM unnest($2::smallint[], $3::text[]) AS a (bucket, address)
JOIN smtp_probe p ON p.run_id = ANY ($1::integer[]) AND p.bucket = a.bucket
  AND p.address = a.address AND cardinality(p.chain) > 0
