-- $1 run
SELECT p.address, p.tlsa_digest, p.operator, p.sni, p.attempt, p.host, p.status,
    p.undecided, p.tlsa, p.record_result, p.matched_record, p.matched_depth, p.name_decides, p.leaf_names,
    p.leaf_names_excess, p.chain, p.tls_version, p.tls_group, p.cipher, p.key_type, p.after_tls,
    p.other_chain, p.other_key_type, p.smtp_code, p.smtp_text, p.error, p.defects,
    p.dns_asked, p.connected, p.duration_ms, p.record_cause,
    own.domain IS NOT NULL AS is_domain
FROM smtp_probe p
LEFT JOIN host_verdict v ON v.run_id = $1 AND v.host = p.host
LEFT JOIN domain_verdict own
    ON own.run_id = $1 AND own.bucket = v.bucket AND own.domain = v.host
WHERE p.run_id = $1
