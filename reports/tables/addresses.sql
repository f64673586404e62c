-- $1 run
SELECT v.host, one.address COLLATE "C" AS address, one.status, v.operator,
    coalesce(string_to_array(nullif(one.names, ''), ' '), '{}') AS certificate_names
FROM host_verdict v
CROSS JOIN unnest(v.address, v.address_status, v.address_names) AS one (address, status, names)
WHERE v.run_id = $1
