-- $1 run
SELECT v.bucket, v.domain, v.zone, v.sampled_one_of, m.outcome AS mx_outcome, m.mx_host,
    v.dns_operator, v.if_signed
FROM domain_verdict v
JOIN domain_mx m USING (run_id, bucket, domain)
WHERE v.run_id = $1 AND v.sampled_one_of IS NOT NULL
