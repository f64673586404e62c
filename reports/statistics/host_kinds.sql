-- MX hosts by class, by TLSA parameters and by TLS; from public/host_counts alone.
WITH counted AS (
    SELECT unnest([
        struct_pack(dimension := 'class', key := class),
        struct_pack(dimension := 'parameters', key := parameters),
        struct_pack(dimension := 'scheme', key := scheme),
        struct_pack(dimension := 'tls_version', key := tls_version),
        struct_pack(dimension := 'tls_group', key := tls_group),
        struct_pack(dimension := 'key_type', key := key_type),
        struct_pack(dimension := 'issuer', key := issuer)
    ]) AS cell, hosts, class
    FROM host_counts
)
SELECT CASE cell.dimension WHEN 'class' THEN 'mx_hosts' ELSE 'tlsa_mx_hosts' END AS metric,
    cell.dimension AS dimension, cell.key AS key, sum(hosts) AS value, 'hosts' AS unit
FROM counted
WHERE cell.key IS NOT NULL AND (cell.dimension = 'class' OR class IN ('F', 'P', 'P°', 'Q', 'unsettled'))
GROUP BY ALL
