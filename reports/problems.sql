-- What is confirmed broken, one row a (operator, MX host or domain whose MX lookup fails), with
-- what a notice needs: since when, how often, the keys that the host shows, the question that
-- fails. Needs the tables of a run, restricted parts included.
WITH confirmed AS (
    SELECT operator_kind, operator, host, stage,
        CASE WHEN host = '' THEN domain ELSE '' END AS failing_domain,
        any_value(status) AS status,
        any_value(causes) AS causes,
        any_value(addresses) AS addresses,
        any_value(evidence) AS evidence,
        any_value(dns_cause) AS dns_cause,
        any_value(zone) AS zone,
        any_value(failed_name) AS name,
        any_value(contact) AS contact,
        list(DISTINCT domain ORDER BY domain) AS domains,
        count(DISTINCT domain) FILTER (WHERE deliverable IS FALSE) AS undeliverable
    FROM breakages
    JOIN (SELECT domain, deliverable FROM domains) USING (domain)
    WHERE state = 'confirmed'
    GROUP BY ALL
),
shown AS (
    -- the leaf of the last session with each address, good ones included, under the host's own
    -- name where there was one, else under another name of the same server
    SELECT h.host, p.address, arg_max(p.chain[1], (p.sni = h.tlsa_base, p.attempt)) AS leaf
    FROM mx_hosts h
    JOIN probes p
        ON p.tlsa_digest = h.tlsa_digest AND p.operator = h.operator
        AND list_contains(h.addresses, p.address)
    SEMI JOIN confirmed c ON c.host = h.host AND c.operator_kind = 'mx'
    WHERE len(p.chain) > 0
    GROUP BY h.host, p.address
),
leaves AS (
    SELECT host, list(DISTINCT der ORDER BY der) AS leaves
    FROM shown JOIN certificates ON certificates.sha256 = shown.leaf
    WHERE der IS NOT NULL
    GROUP BY host
),
open AS (
    SELECT operator_kind, host, domain AS failing_domain, good_until, began, recurrence
    FROM episodes
    WHERE ended IS NULL
    QUALIFY row_number() OVER (
        PARTITION BY operator_kind, host, failing_domain ORDER BY began DESC) = 1
)
SELECT c.operator_kind, c.operator, c.host, c.failing_domain, c.stage, c.status, c.causes,
    c.addresses, c.evidence, c.domains, c.undeliverable,
    o.good_until, o.began, coalesce(o.recurrence, 0) AS recurrence,
    coalesce(h.tlsa_base, c.host) AS tlsa_base,
    coalesce(l.leaves, []) AS leaves,
    c.dns_cause, c.zone, c.name, c.contact,
    coalesce(h.authority, d.authority, []) AS authority
FROM confirmed c
LEFT JOIN mx_hosts h USING (host)
LEFT JOIN domains d ON d.domain = c.failing_domain AND c.host = ''
LEFT JOIN leaves l USING (host)
LEFT JOIN open o USING (operator_kind, host, failing_domain)
ORDER BY c.operator_kind, c.operator, c.host, c.failing_domain, c.stage
