-- $1 run: delegations that it did not look up
SELECT d.bucket, d.domain
FROM delegation d
WHERE d.missing_since IS NULL AND NOT EXISTS (
    SELECT FROM domain_mx m WHERE m.run_id = $1 AND m.bucket = d.bucket AND m.domain = d.domain
)
