-- $1 run
SELECT v.host, one.address COLLATE "C" AS address, one.status, v.operator, one.names AS certificate_names
FROM host_verdict v,
    unnest(v.address, v.address_status, v.address_names) AS one (address, status, names)
WHERE v.run_id = $1
