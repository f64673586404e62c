-- What fails in a run, one row a (operator, MX host, domain): broken hosts and failing lookups,
-- with how far apart the attempts of this run were. Needs the run's tables. The rules are
-- docs/measurement.md sections 6, 7 and 9.
WITH pair AS (
    -- a domain and one of its hosts; the most preferred ones that remain are primary
    SELECT domain, host, preference, host_status, class,
        preference = min(preference) FILTER (WHERE class <> '-') OVER (PARTITION BY domain)
            AS is_primary,
        status, stage
    FROM (
        SELECT domain, status, stage,
            unnest(mx_host) AS host,
            unnest(mx_preference) AS preference,
            unnest(host_status) AS host_status,
            unnest(host_class) AS class
        FROM domains
        WHERE status IN ('broken', 'lookup_failed')
    )
),
suffering AS (
    SELECT domain, host, host_status, class,
        CASE WHEN is_primary THEN 'primary' ELSE 'backup' END AS level
    FROM pair
    WHERE (class = 'F' AND status = 'broken')
        OR class = 'L'
        OR (class = 'A' AND status = 'lookup_failed' AND stage = 'address')
),

-- MX hosts that break the promise -----------------------------------------------------
attempt AS (
    -- each kind of fault by itself, too: where the handshake works, TLS is there
    SELECT *,
        max(connected) FILTER (WHERE status IN ('pass', 'unusable')) OVER server AS good,
        max(connected) FILTER (WHERE status IN ('pass', 'unusable', 'mismatch', 'ta_expired',
                                                'name_mismatch')) OVER server AS with_tls
    FROM probes
    WINDOW server AS (PARTITION BY address, tlsa_digest, operator, sni)
),
failed AS (
    SELECT *,
        CASE WHEN status IN ('mismatch', 'ta_expired', 'name_mismatch') THEN 'certificate'
            ELSE 'tls' END AS fault
    FROM attempt
    WHERE status IN ('mismatch', 'ta_expired', 'name_mismatch', 'no_starttls',
                     'starttls_rejected', 'tls_failed')
),
session AS (
    -- the sessions of one address that failed, first to last, with none good between or after,
    -- and what the last one saw
    SELECT address, tlsa_digest, operator, sni,
        min(connected) FILTER (WHERE good IS NULL OR connected > good) AS first_failed,
        max(connected) AS last_failed,
        min(connected) FILTER (WHERE fault = 'certificate' AND (good IS NULL OR connected > good))
            AS first_certificate,
        max(connected) FILTER (WHERE fault = 'certificate') AS last_certificate,
        min(connected) FILTER (WHERE fault = 'tls' AND (with_tls IS NULL OR connected > with_tls))
            AS first_tls,
        max(connected) FILTER (WHERE fault = 'tls') AS last_tls,
        list(DISTINCT chain[1]) FILTER (WHERE len(chain) > 0) AS leaves,
        arg_max(struct_pack(status, chain, leaf_names, tls_version, smtp_code, smtp_text, error),
                attempt) AS last_one
    FROM failed
    GROUP BY ALL
),
fault AS (
    -- an address of a host at fault, with the sessions made under the host's own name, or
    -- under another name of the same server where this host's were inferred
    SELECT h.host, a.address, a.status, s.* EXCLUDE (address, tlsa_digest, operator, sni)
    FROM addresses a
    JOIN mx_hosts h USING (host)
    LEFT JOIN session s
        ON s.address = a.address AND s.tlsa_digest = h.tlsa_digest AND s.operator = h.operator
    WHERE a.status IN ('mismatch', 'ta_expired', 'name_mismatch', 'no_starttls',
                       'starttls_rejected', 'tls_failed')
    QUALIFY row_number() OVER (
        PARTITION BY h.host, a.address ORDER BY (s.sni = h.tlsa_base) DESC, s.sni
    ) = 1
),
host_fault AS (
    SELECT host,
        list(address ORDER BY address) AS addresses,
        list_sort(list_distinct(flatten(list(leaves) FILTER (WHERE leaves IS NOT NULL))))
            AS leaves,
        max(last_failed) AS seen,
        max(epoch_us(last_failed) - epoch_us(first_failed)) AS apart_us,
        max(epoch_us(last_certificate) - epoch_us(first_certificate)) AS certificate_apart_us,
        max(epoch_us(last_tls) - epoch_us(first_tls)) AS tls_apart_us,
        list(
            concat_ws(' ', 'address', address, status,
                'leaf ' || last_one.chain[1],
                'names ' || nullif(array_to_string(last_one.leaf_names, ','), ''),
                last_one.tls_version,
                'reply ' || last_one.smtp_code,
                last_one.smtp_text,
                'error ' || last_one.error)
            ORDER BY address
        ) AS sessions
    FROM fault
    GROUP BY host
),
mx_breakage AS (
    SELECT 'mx' AS operator_kind, h.operator, s.host, s.domain,
        s.host_status AS status, '' AS stage, s.level,
        CAST(NULL AS VARCHAR) AS dns_cause, CAST(NULL AS VARCHAR) AS zone,
        CAST(NULL AS VARCHAR) AS failed_name, h.contact,
        CASE WHEN s.host_status IN ('mismatch', 'ta_expired', 'name_mismatch')
            THEN 'certificate' ELSE 'tls' END AS fault,
        coalesce(f.seen, h.last_asked) AS seen,
        coalesce(f.apart_us, 0) AS apart_us,
        coalesce(CASE WHEN s.host_status IN ('mismatch', 'ta_expired', 'name_mismatch')
            THEN f.certificate_apart_us ELSE f.tls_apart_us END, 0) AS fault_apart_us,
        coalesce(h.rrsig_original_ttl, 0) AS ttl_s,
        list_concat(
            ['tlsa ' || h.tlsa_digest],
            list_transform(coalesce(f.leaves, []), lambda leaf: 'leaf ' || leaf)
        ) AS observed,
        coalesce(f.addresses, []) AS addresses,
        h.causes, h.defects,
        list_concat(list_transform(h.tlsa, lambda record: 'tlsa ' || record), f.sessions)
            AS evidence
    FROM suffering s
    JOIN mx_hosts h USING (host)
    LEFT JOIN host_fault f USING (host)
    WHERE s.class = 'F'
),

-- lookups that fail -------------------------------------------------------------------
host_lookup AS (
    SELECT s.domain, s.host, s.level,
        CASE s.class WHEN 'L' THEN 'tlsa' ELSE 'address' END AS stage,
        CASE
            WHEN s.class = 'L' AND h.tlsa_outcome IN ('bogus', 'servfail') THEN h.tlsa_outcome
            WHEN s.class = 'L' AND h.second_look_outcome IN ('bogus', 'servfail')
                THEN h.second_look_outcome
            WHEN h.a_outcome IN ('bogus', 'servfail') THEN h.a_outcome
            WHEN h.aaaa_outcome IN ('bogus', 'servfail') THEN h.aaaa_outcome
            ELSE 'servfail'
        END AS status,
        CASE WHEN len(h.failed_operator) > 0 THEN h.failed_operator
            WHEN len(h.dns_operator) > 0 THEN h.dns_operator ELSE [h.operator] END AS operators,
        h.dns_cause, h.failed_zone AS zone, h.failed_name, h.contact,
        h.last_asked AS seen, h.first_asked, h.passes, h.defects,
        h.ede_code, h.ede_text, h.authority
    FROM suffering s
    JOIN mx_hosts h USING (host)
    WHERE s.class IN ('L', 'A')
),
mx_lookup AS (
    SELECT domain, '' AS host, NULL AS level, 'mx' AS stage,
        CASE WHEN mx_outcome IN ('bogus', 'servfail') THEN mx_outcome ELSE 'servfail' END
            AS status,
        CASE WHEN len(failed_operator) > 0 THEN failed_operator
            WHEN len(dns_operator) > 0 THEN dns_operator ELSE ['(unknown)'] END AS operators,
        dns_cause, failed_zone AS zone, failed_name, CAST(NULL AS VARCHAR) AS contact,
        last_asked AS seen, first_asked, passes, defects,
        ede_code, ede_text, authority
    FROM domains
    WHERE status = 'lookup_failed' AND stage = 'mx'
),
dns_breakage AS (
    SELECT 'dns' AS operator_kind, unnest(operators) AS operator, host, domain,
        status, stage, level, seen,
        dns_cause, zone, failed_name, contact,
        'lookup' AS fault,
        CASE WHEN passes > 1 THEN epoch_us(seen) - epoch_us(first_asked) ELSE 0 END AS apart_us,
        apart_us AS fault_apart_us,
        0 AS ttl_s,
        CAST([] AS VARCHAR[]) AS observed,
        CAST([] AS VARCHAR[]) AS addresses,
        CAST([] AS VARCHAR[]) AS causes,
        defects,
        list_concat(
            CASE WHEN ede_code IS NULL THEN []
                ELSE ['ede ' || ede_code || coalesce(' ' || nullif(ede_text, ''), '')] END,
            list_transform(authority, lambda answer: concat_ws(' ', 'server', answer.server,
                answer.address, answer.transport, answer.question, answer.result))
        ) AS evidence
    FROM (FROM host_lookup UNION ALL BY NAME FROM mx_lookup)
)
FROM mx_breakage
UNION ALL BY NAME
FROM dns_breakage
