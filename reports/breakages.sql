-- Breakages of a run, one row a (operator, MX host, domain), with how long each has lasted.
-- Needs the run's tables and previous_run_breakages, this table of the run before. The rules
-- are docs/measurement.md sections 6, 7 and 9; parameters ending in _us are microseconds.
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
    SELECT *, max(connected) FILTER (WHERE status IN ('pass', 'unusable'))
        OVER (PARTITION BY address, tlsa_digest, operator, sni) AS good
    FROM probes
),
session AS (
    -- the sessions of one address that failed, first to last, with none good between or after,
    -- and what the last one saw
    SELECT address, tlsa_digest, operator, sni,
        min(connected) FILTER (WHERE good IS NULL OR connected > good) AS first_failed,
        max(connected) AS last_failed,
        arg_max(struct_pack(status, chain, leaf_names, tls_version, smtp_code, smtp_text, error),
                attempt) AS last_one
    FROM attempt
    WHERE status IN ('mismatch', 'ta_expired', 'name_mismatch', 'no_starttls',
                     'starttls_rejected', 'tls_failed')
    GROUP BY ALL
),
fault AS (
    -- an address of a host at fault, with the sessions made under the host's own name, or
    -- under another name of the same server where this host's were inferred
    SELECT h.host, a.address, a.status, s.first_failed, s.last_failed, s.last_one
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
        list(DISTINCT last_one.chain[1] ORDER BY last_one.chain[1])
            FILTER (WHERE len(last_one.chain) > 0) AS leaves,
        max(last_failed) AS seen,
        max(epoch_us(last_failed) - epoch_us(first_failed)) AS apart_us,
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
        coalesce(f.seen, h.last_asked) AS seen,
        coalesce(f.apart_us, 0) AS apart_us,
        coalesce(h.rrsig_original_ttl, 0) AS ttl_s,
        md5(concat_ws(' ', h.tlsa_digest, array_to_string(f.leaves, ' '))) AS observed,
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
        CASE WHEN len(h.dns_operator) > 0 THEN h.dns_operator ELSE [h.operator] END
            AS operators,
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
        CASE WHEN len(dns_operator) > 0 THEN dns_operator ELSE ['(unknown)'] END AS operators,
        last_asked AS seen, first_asked, passes, defects,
        ede_code, ede_text, authority
    FROM domains
    WHERE status = 'lookup_failed' AND stage = 'mx'
),
dns_breakage AS (
    SELECT 'dns' AS operator_kind, unnest(operators) AS operator, host, domain,
        status, stage, level, seen,
        CASE WHEN passes > 1 THEN epoch_us(seen) - epoch_us(first_asked) ELSE 0 END AS apart_us,
        0 AS ttl_s,
        '' AS observed,
        CAST([] AS VARCHAR[]) AS addresses,
        CAST([] AS VARCHAR[]) AS causes,
        defects,
        list_concat(
            CASE WHEN ede_code IS NULL THEN []
                ELSE ['ede ' || ede_code || coalesce(' ' || nullif(ede_text, ''), '')] END,
            list_transform(authority, lambda answer: 'server ' || answer)
        ) AS evidence
    FROM (FROM host_lookup UNION ALL BY NAME FROM mx_lookup)
),

-- how long ----------------------------------------------------------------------------
today AS (
    SELECT *, apart_us >= $attempts_apart_us AS counts
    FROM (FROM mx_breakage UNION ALL BY NAME FROM dns_breakage)
),
follow AS (
    -- what the run before says of the same breakage, if that is near enough to be in a row
    SELECT t.*, p.looks AS looks_before, p.first_look AS first_before, p.last_look AS last_before,
        coalesce(
            p.looks > 0
            AND epoch_us(t.seen) - epoch_us(p.last_look) BETWEEN 1 AND $greatest_gap_us,
            false
        ) AS in_a_row,
        coalesce(epoch_us(t.seen) - epoch_us(p.last_look) >= $least_gap_us, true) AS spaced,
        CASE WHEN p.observed = t.observed THEN p.unchanged_since ELSE t.seen END
            AS unchanged_since,
        coalesce(p.observed <> t.observed OR p.rollover_in_progress, false) AS changed
    FROM today t
    LEFT JOIN previous_run_breakages p USING (operator_kind, operator, host, domain)
),
streak AS (
    SELECT *,
        CASE
            WHEN NOT in_a_row THEN CAST(counts AS INTEGER)
            WHEN counts AND spaced THEN looks_before + 1
            ELSE looks_before
        END AS looks,
        CASE WHEN in_a_row THEN first_before ELSE seen END AS first_look,
        CASE WHEN in_a_row AND NOT (counts AND spaced) THEN last_before ELSE seen END AS last_look,
        epoch_us(seen) - epoch_us(unchanged_since) >= 2 * ttl_s * 1000000 AS settled
    FROM follow
)
SELECT operator_kind, operator, host, domain, status, stage,
    CASE
        WHEN counts AND settled AND looks >= $looks
            AND epoch_us(last_look) - epoch_us(first_look) >= $span_us
        THEN 'confirmed'
        ELSE 'suspected'
    END AS state,
    level,
    changed AND NOT settled AS rollover_in_progress,
    looks, first_look, last_look, seen, unchanged_since, observed,
    addresses, causes, defects, evidence
FROM streak
ORDER BY operator_kind, operator, host, domain
