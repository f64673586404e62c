-- What would make domains DANE domains, by MX operator: each of the kinds below, with the
-- hosts to change and the domains whose most preferred hosts need nothing else.
--   publish_tlsa  the hosts' zone is signed, TLSA records are missing
--   sign_zone     the hosts' zone is not signed (then TLSA records are needed too)
--   add_usable    there are TLSA records, none of them usable
WITH pair AS (
    SELECT domain, host, class, host_status,
        preference = min(preference) FILTER (WHERE class <> '-') OVER (PARTITION BY domain)
            AS is_primary
    FROM (
        SELECT hash(domain) AS domain,
            unnest(mx_host) AS host,
            unnest(mx_preference) AS preference,
            unnest(host_status) AS host_status,
            unnest(host_class) AS class
        FROM domains
        WHERE mx_secure AND NOT dane_primary
            AND status IN ('no_tlsa', 'insecure_mx_host', 'unusable', 'partial')
    )
),
needed AS (
    SELECT p.domain, p.host, h.operator, p.class, p.host_status,
        CASE p.host_status
            WHEN 'absent' THEN 'publish_tlsa'
            WHEN 'insecure' THEN 'sign_zone'
            WHEN 'unusable' THEN 'add_usable'
        END AS kind
    FROM pair p
    JOIN mx_hosts h USING (host)
    WHERE p.is_primary AND p.class <> '-'
),
only_that AS (
    -- the domain needs one kind of change at one operator; the other hosts are fine
    SELECT domain, min(kind) AS kind,
        min(operator) FILTER (WHERE kind IS NOT NULL) AS operator
    FROM needed
    GROUP BY domain
    HAVING count(DISTINCT kind) = 1
        AND count(DISTINCT operator) FILTER (WHERE kind IS NOT NULL) = 1
        AND bool_and(kind IS NOT NULL OR class IN ('P', 'Q', 'A'))
)
SELECT o.kind, o.operator, count(DISTINCT o.domain) AS domains, count(DISTINCT n.host) AS hosts
FROM only_that o
JOIN needed n ON n.domain = o.domain AND n.kind = o.kind
GROUP BY o.kind, o.operator
ORDER BY domains DESC, o.kind, o.operator
