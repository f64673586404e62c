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
    -- one a host: of its questions that fail
    SELECT h.bucket, h.host,
        array_agg(one.server ORDER BY a.name, a.rrtype, one.position) AS server,
        array_agg(one.address ORDER BY a.name, a.rrtype, one.position) AS address,
        array_agg(one.transport ORDER BY a.name, a.rrtype, one.position) AS transport,
        array_agg(one.question ORDER BY a.name, a.rrtype, one.position) AS question,
        array_agg(one.result ORDER BY a.name, a.rrtype, one.position) AS result
    FROM mx_host h
    JOIN authority a
        ON a.run_id = $1 AND a.bucket = h.bucket AND a.name = ANY (h.failed_names)
        AND a.rrtype <> 'MX'
    CROSS JOIN LATERAL unnest(a.server, a.address, a.transport, a.question, a.result)
        WITH ORDINALITY AS one (server, address, transport, question, result, position)
    WHERE h.run_id = $1 AND h.failed_names <> '{}'
    GROUP BY h.bucket, h.host
)
SELECT v.bucket, v.host, v.operator, v.status, v.class, v.usable, v.undecided, v.inferred,
    v.defects, v.causes,
    coalesce(p.domains, 0) AS domains, coalesce(p.primary_domains, 0) AS primary_domains,
    coalesce(z.dns_operator, '{}') AS dns_operator,
    h.a_outcome, h.a_secure, h.aaaa_outcome, h.aaaa_secure,
    h.addresses, h.address_total, h.cname_chain, h.cname_secure, h.first_cname_secure,
    h.tlsa_base, h.tlsa_outcome, h.tlsa, h.tlsa_digest, h.tlsa_usable, h.second_look_outcome,
    h.passes, h.questions, h.first_asked, h.last_asked, h.ede_code, h.ede_text,
    h.rrsig_signer, h.rrsig_algorithm, h.rrsig_key_tag, h.rrsig_labels,
    h.rrsig_original_ttl, h.rrsig_inception, h.rrsig_expiration, h.nsec3_iterations,
    h.first_look_outcome,
    v.dns_cause, v.failed_zone, v.failed_name, v.failed_operator, v.sha1_only,
    v.failing_servers, v.disagreeing_servers,
    v.scheme, h.contact,
    coalesce(asked.server, '{}') AS authority_server,
    coalesce(asked.address, '{}') AS authority_address,
    coalesce(asked.transport, '{}') AS authority_transport,
    coalesce(asked.question, '{}') AS authority_question,
    coalesce(asked.result, '{}') AS authority_result
FROM host_verdict v
JOIN mx_host h USING (run_id, bucket, host)
LEFT JOIN pointing p ON p.host = v.host
LEFT JOIN domain_verdict z
    ON z.run_id = $1 AND z.domain = coalesce(h.rrsig_signer, v.operator)
LEFT JOIN asked ON asked.bucket = v.bucket AND asked.host = v.host
WHERE v.run_id = $1
