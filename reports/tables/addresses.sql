-- $1 run
SELECT v.host, one.address COLLATE "C" AS address, one.status, v.operator,
    one.names AS certificate_names,
    own.domain IS NOT NULL AS is_domain
FROM host_verdict v
CROSS JOIN unnest(v.address, v.address_status, v.address_names) AS one (address, status, names)
LEFT JOIN domain_verdict own
    ON own.run_id = $1 AND own.bucket = v.bucket AND own.domain = v.host
WHERE v.run_id = $1
