-- Domains of zones that are open. Of their hosts and operators only those are named that may
-- be; what is not confirmed is unsettled.
WITH open AS (
    SELECT d.*, z.licence FROM settled_domains d JOIN open_zone z USING (zone)
),
pair AS (
    SELECT bucket, domain, generate_subscripts(mx_host, 1) AS place,
        unnest(mx_host) AS host, unnest(host_class) AS class
    FROM open
),
host AS (
    SELECT p.bucket, p.domain,
        list(CASE WHEN public_name.name IS NOT NULL OR h.host IS NOT NULL
            OR p.host = p.domain OR ends_with(p.host, '.' || p.domain)
            THEN p.host ELSE few() END ORDER BY place) AS mx_host,
        list(CASE WHEN p.class IN ('F', 'L') AND h.host IS NULL THEN 'unsettled'
            ELSE p.class END ORDER BY place) AS host_class
    FROM pair p
    LEFT JOIN public_host h USING (host)
    LEFT JOIN public_name ON public_name.name = p.host
    GROUP BY ALL
),
operator AS (
    SELECT bucket, domain,
        list(name ORDER BY name) FILTER (kind = 'mx') AS mx_operator,
        list(name ORDER BY name) FILTER (kind = 'dns') AS dns_operator
    FROM (
        SELECT bucket, domain, 'mx' AS kind, unnest(mx_operator) AS name FROM open
        UNION ALL SELECT bucket, domain, 'dns', unnest(dns_operator) FROM open
    )
    SEMI JOIN public_name USING (name)
    GROUP BY ALL
)
SELECT o.bucket, o.domain, o.zone, o.licence, o.status, o.mx_secure, o.dane_primary,
    coalesce(h.mx_host, []) AS mx_host, o.mx_preference,
    coalesce(h.host_class, []) AS host_class,
    coalesce(n.mx_operator, []) AS mx_operator,
    coalesce(n.dns_operator, []) AS dns_operator
FROM open o
LEFT JOIN host h USING (bucket, domain)
LEFT JOIN operator n USING (bucket, domain)
ORDER BY o.bucket, o.domain
