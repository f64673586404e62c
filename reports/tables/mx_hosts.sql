-- $1 run. The zone of a host is the signer of its records, else the operator's domain;
-- the operators of the zone's name servers are known where the zone was surveyed itself.
WITH pointing AS (
    SELECT one.host, count(*) AS domains,
        count(*) FILTER (WHERE one.preference = lowest.preference) AS primary_domains
    FROM domain_verdict v,
        LATERAL (
            SELECT min(h.preference) AS preference
            FROM unnest(v.host_preference, v.host_class) AS h (preference, class)
            WHERE h.class <> '-'
        ) lowest,
        unnest(v.host, v.host_preference) AS one (host, preference)
    WHERE v.run_id = $1
    GROUP BY one.host
),
asked AS (
    SELECT a.bucket, a.name,
        array_agg(concat_ws(' ', one.server, one.address, one.transport,
                            one.question, one.result) ORDER BY a.rrtype, one.position) AS answers
    FROM authority a,
        unnest(a.server, a.address, a.transport, a.question, a.result) WITH ORDINALITY
            AS one (server, address, transport, question, result, position)
    WHERE a.run_id = $1 AND a.rrtype <> 'MX'
    GROUP BY a.bucket, a.name
)
SELECT v.bucket, v.host, v.operator, v.status, v.class, v.usable, v.inferred,
    v.defects, v.causes,
    coalesce(p.domains, 0) AS domains, coalesce(p.primary_domains, 0) AS primary_domains,
    coalesce(z.dns_operator, '{}') AS dns_operator,
    h.a_outcome, h.a_secure, h.aaaa_outcome, h.aaaa_secure,
    h.addresses, h.address_total, h.cname_chain, h.cname_secure, h.first_cname_secure,
    h.tlsa_base, h.tlsa_outcome, h.tlsa, h.tlsa_digest, h.tlsa_usable, h.second_look_outcome,
    h.passes, h.questions, h.first_asked, h.last_asked, h.ede_code, h.ede_text,
    h.rrsig_signer, h.rrsig_algorithm, h.rrsig_key_tag, h.rrsig_labels,
    h.rrsig_original_ttl, h.rrsig_inception, h.rrsig_expiration, h.nsec3_iterations,
    coalesce(host_asked.answers, '{}') || coalesce(tlsa_asked.answers, '{}')
        || coalesce(target_asked.answers, '{}') AS authority,
    own.domain IS NOT NULL AS is_domain
FROM host_verdict v
JOIN mx_host h USING (run_id, bucket, host)
LEFT JOIN domain_verdict own
    ON own.run_id = $1 AND own.bucket = v.bucket AND own.domain = v.host
LEFT JOIN pointing p ON p.host = v.host
LEFT JOIN domain_verdict z
    ON z.run_id = $1 AND z.domain = coalesce(h.rrsig_signer, v.operator)
LEFT JOIN asked host_asked ON host_asked.bucket = h.bucket AND host_asked.name = h.host
LEFT JOIN asked tlsa_asked
    ON tlsa_asked.bucket = h.bucket AND tlsa_asked.name = '_25._tcp.' || h.host
LEFT JOIN asked target_asked
    ON target_asked.bucket = h.bucket
    AND target_asked.name = '_25._tcp.' || h.cname_chain[array_upper(h.cname_chain, 1)]
WHERE v.run_id = $1
