-- $1 run. Names of the leaf where they decide, the first hundred.
SELECT v.host, one.address COLLATE "C" AS address, one.status, v.operator,
    coalesce((string_to_array(nullif(c.names, ''), E'\n'))[1:100], '{}') AS certificate_names
FROM host_verdict v
CROSS JOIN unnest(v.address, v.address_status, v.address_leaf) AS one (address, status, leaf)
LEFT JOIN certificate c ON c.sha256 = nullif(one.leaf, '')
WHERE v.run_id = $1
