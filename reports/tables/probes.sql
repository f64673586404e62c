-- $1 run
SELECT address, tlsa_digest, operator, sni, attempt, host, status, tlsa, record_result,
    matched_record, matched_depth, name_decides, leaf_names, chain, tls_version, cipher,
    key_type, smtp_code, smtp_text, error, defects, dns_asked, connected, duration_ms
FROM smtp_probe
WHERE run_id = $1
