-- $1 run
SELECT address, tlsa_digest, operator, sni, attempt, host, status, undecided, tlsa,
    record_result, matched_record, matched_depth, name_decides, leaf_names, leaf_names_excess,
    chain, tls_version, tls_group, cipher, key_type, after_tls, other_chain, other_key_type,
    smtp_code, smtp_text, error, defects, dns_asked, connected, duration_ms, record_cause
FROM smtp_probe
WHERE run_id = $1
