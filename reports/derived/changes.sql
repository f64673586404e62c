-- One slice of buckets: every domain that a headline counts in one month and not in the other,
-- with the first reason that applies. `unsurveyed` are delegations that this run did not look
-- up: those that opted out.
INSERT INTO domain_change
WITH moved AS (
    SELECT bucket, domain,
        coalesce(b.mx_secure, false) AS secure_before, coalesce(n.mx_secure, false) AS secure_now,
        coalesce(b.dane_primary, false) AS dane_before, coalesce(n.dane_primary, false) AS dane_now
    FROM (SELECT bucket, domain, mx_secure, dane_primary FROM previous_month_domains
          WHERE bucket BETWEEN $first AND $last) b
    FULL JOIN (SELECT bucket, domain, mx_secure, dane_primary FROM domains
               WHERE bucket BETWEEN $first AND $last) n USING (bucket, domain)
    WHERE (secure_before <> secure_now OR dane_before <> dane_now)
        AND EXISTS (SELECT 1 FROM previous_month_domains)
),
headline AS (
    SELECT bucket, domain, 'mx_secure' AS headline,
        CASE WHEN secure_now THEN 'gained' ELSE 'lost' END AS direction
    FROM moved WHERE secure_before <> secure_now
    UNION ALL
    SELECT bucket, domain, 'dane_primary', CASE WHEN dane_now THEN 'gained' ELSE 'lost' END
    FROM moved WHERE dane_before <> dane_now
),
before AS (
    SELECT bucket, domain, zone, status, mx_outcome, mx_answer_secure, mx_host, mx_preference,
        host_status, mx_operator
    FROM previous_month_domains SEMI JOIN moved USING (bucket, domain)
    WHERE bucket BETWEEN $first AND $last
),
now AS (
    SELECT bucket, domain, zone, status, mx_outcome, mx_answer_secure, mx_host, mx_preference,
        host_status, mx_operator
    FROM domains SEMI JOIN moved USING (bucket, domain)
    WHERE bucket BETWEEN $first AND $last
),
beside AS (
    SELECT h.*, b.status AS status_before, n.status AS status_now,
        b.domain IS NOT NULL AS was_there, n.domain IS NOT NULL AS is_there,
        b.mx_operator AS operators_before, n.mx_operator AS operators_now,
        b.mx_outcome = n.mx_outcome AND b.mx_answer_secure = n.mx_answer_secure
            AND b.mx_host = n.mx_host AND b.mx_preference = n.mx_preference
            AND b.host_status = n.host_status AS same,
        len(b.mx_host) > 0 AND len(n.mx_host) > 0 AND b.mx_host <> n.mx_host AS other_hosts,
        list_contains(b.host_status, 'opted_out') OR list_contains(n.host_status, 'opted_out')
            OR u.domain IS NOT NULL AS out,
        b.zone AS zone_before, n.zone AS zone_now
    FROM headline h
    LEFT JOIN before b USING (bucket, domain)
    LEFT JOIN now n USING (bucket, domain)
    LEFT JOIN unsurveyed u USING (bucket, domain)
)
SELECT bucket, domain, headline, direction,
    CASE
        WHEN was_there AND is_there AND same THEN 'rules_changed'
        WHEN NOT was_there AND zone_now NOT IN (SELECT zone FROM previous_month_zones)
            THEN 'zone_not_seen'
        WHEN NOT is_there AND zone_before NOT IN (SELECT zone FROM zones) THEN 'zone_not_seen'
        WHEN coalesce(out, false) THEN 'opted_out'
        WHEN NOT was_there THEN 'signed_new'
        WHEN NOT is_there THEN 'domain_gone'
        WHEN headline = 'dane_primary' AND other_hosts THEN 'mx_moved'
        WHEN headline = 'dane_primary' AND direction = 'gained'
            AND status_before IN ('no_tlsa', 'insecure_mx_host', 'partial', 'unusable')
            THEN 'operator_published_tlsa'
        WHEN headline = 'dane_primary' AND direction = 'lost'
            AND status_now IN ('no_tlsa', 'insecure_mx_host', 'partial', 'unusable')
            THEN 'operator_removed_tlsa'
        WHEN headline = 'dane_primary' AND direction = 'lost'
            AND status_now = 'broken'
            THEN 'broke'
        WHEN headline = 'dane_primary' AND direction = 'gained' AND status_before = 'broken'
            THEN 'repaired'
        WHEN direction = 'lost' AND status_now IN ('lookup_failed', 'indeterminate')
            THEN 'lookup_fails'
        WHEN direction = 'gained' AND status_before IN ('lookup_failed', 'indeterminate')
            THEN 'lookup_works'
        WHEN 'unreachable' IN (status_before, status_now) THEN 'unreachable'
        ELSE 'other'
    END AS reason,
    CASE len(operators_before) WHEN 0 THEN NULL WHEN 1 THEN operators_before[1]
        ELSE '(several)' END AS operator_before,
    CASE len(operators_now) WHEN 0 THEN NULL WHEN 1 THEN operators_now[1]
        ELSE '(several)' END AS operator_now,
    status_before, status_now
FROM beside
