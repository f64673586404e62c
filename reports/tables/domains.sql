-- $1 run, $2 first bucket, $3 bucket after the last one
SELECT v.bucket, v.domain, v.status, v.stage, v.reason, v.level,
    v.mx_secure, v.dane_primary, v.deliverable,
    v.host AS mx_host, v.host_preference AS mx_preference, v.host_status, v.host_class,
    v.mx_operator, v.dns_operator, v.defects,
    m.outcome AS mx_outcome, m.secure AS mx_answer_secure, m.mx_total, m.cname_target,
    m.passes, m.questions, m.first_asked, m.last_asked, m.ede_code, m.ede_text,
    m.rrsig_signer, m.rrsig_algorithm, m.rrsig_key_tag, m.rrsig_labels,
    m.rrsig_original_ttl, m.rrsig_inception, m.rrsig_expiration,
    m.nsec3_iterations, m.nsec3_salt_length, m.nsec3_opt_out,
    m.dnskey_outcome, m.dnskey_algorithm, m.dnskey_bits, m.dnskey_flags,
    m.nsec3param_iterations, m.nsec3param_salt_length, m.second_look_outcome,
    coalesce(
        (SELECT array_agg(concat_ws(' ', one.server, one.address, one.transport,
                                    one.question, one.result) ORDER BY one.position)
         FROM authority a,
             unnest(a.server, a.address, a.transport, a.question, a.result) WITH ORDINALITY
                 AS one (server, address, transport, question, result, position)
         WHERE v.status = 'lookup_failed' AND a.run_id = $1 AND a.bucket = v.bucket
             AND a.name = v.domain AND a.rrtype = 'MX'),
        '{}'
    ) AS authority
FROM domain_verdict v
JOIN domain_mx m USING (run_id, bucket, domain)
WHERE v.run_id = $1 AND v.bucket >= $2 AND v.bucket < $3
