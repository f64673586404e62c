-- $1 run. A sole "." is null MX (RFC 7505): no host.
SELECT host
FROM (
  SELECT DISTINCT unnest(m.mx_host) AS host
  FROM domain_mx m
  WHERE m.run_id = $1 AND m.secure AND m.mx_host <> '{.}'
) AS wanted
WHERE NOT EXISTS (SELECT FROM mx_host h WHERE h.run_id = $1 AND h.host = wanted.host)
