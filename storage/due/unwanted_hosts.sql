-- The guard of wanted_host: MX hosts of the run's secure MX RRsets that it lacks. $1 run.
-- None, unless rows were stored by other means. A sole "." is null MX (RFC 7505): no host.
-- No index: one read of the run's partition, at the start of a process and at the end of a run.
SELECT host, min(hosts)::smallint AS hosts
FROM (
  SELECT unnest(m.mx_host) AS host, cardinality(m.mx_host) AS hosts
  FROM domain_mx m
  WHERE m.run_id = $1 AND m.secure AND m.mx_host <> '{.}'
) AS named
WHERE NOT EXISTS (SELECT FROM wanted_host w WHERE w.run_id = $1 AND w.host = named.host)
GROUP BY host
