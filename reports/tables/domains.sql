-- $1 run, $2 first bucket, $3 bucket after the last one
SELECT v.bucket, v.domain, v.status, v.stage, v.reason, v.level,
    v.mx_secure, v.dane_primary, v.deliverable,
    v.host AS mx_host, v.host_preference AS mx_preference, v.host_status, v.host_class,
    v.mx_operator, v.dns_operator, v.defects, p.mta_sts, p.tlsrpt,
    m.outcome AS mx_outcome, m.secure AS mx_answer_secure, m.mx_total, m.cname_target,
    m.passes, m.questions, m.first_asked, m.last_asked, m.ede_code, m.ede_text,
    m.rrsig_signer, m.rrsig_algorithm, m.rrsig_key_tag, m.rrsig_labels,
    m.rrsig_original_ttl, m.rrsig_inception, m.rrsig_expiration,
    m.nsec3_iterations, m.nsec3_salt_length, m.nsec3_opt_out,
    m.dnskey_outcome, m.dnskey_algorithm, m.dnskey_bits, m.dnskey_flags,
    m.nsec3param_iterations, m.nsec3param_salt_length, m.second_look_outcome, m.first_look_outcome,
    v.dns_cause, v.failed_zone, v.failed_name, v.failed_operator, v.sha1_only,
    coalesce(v.zone, substr(v.domain, strpos(v.domain, '.') + 1)) AS zone, v.ds,
    coalesce(asked.server, '{}') AS authority_server,
    coalesce(asked.address, '{}') AS authority_address,
    coalesce(asked.transport, '{}') AS authority_transport,
    coalesce(asked.question, '{}') AS authority_question,
    coalesce(asked.result, '{}') AS authority_result
FROM domain_verdict v
JOIN domain_mx m USING (run_id, bucket, domain)
LEFT JOIN domain_policy p USING (run_id, bucket, domain)
LEFT JOIN authority asked
    ON v.status = 'lookup_failed' AND asked.run_id = $1 AND asked.bucket = v.bucket
    AND asked.name = v.domain AND asked.rrtype = 'MX'
WHERE v.run_id = $1 AND v.sampled_one_of IS NULL AND v.bucket >= $2 AND v.bucket < $3
