-- Which of the open episodes of the run before are over, when, and by what. Needs the run's
-- tables, failing, and previous_run_episodes. A host or lookup that says nothing (our outage,
-- tempfail, a lookup that fails before it) is not over. $sees_all: whoever promised DANE or
-- failed before is in this run, if it is still there.
WITH open AS (
    SELECT e.*
    FROM previous_run_episodes e
    ANTI JOIN (
        SELECT operator_kind, host, CASE WHEN host = '' THEN domain ELSE '' END AS domain
        FROM failing
    ) f USING (operator_kind, host, domain)
    WHERE e.ended IS NULL
),
suffered AS (
    -- of the domains that suffered, those that this run has, and what it says of them
    SELECT o.operator_kind, o.host, o.domain, d.domain AS name, d.last_asked,
        d.reason = 'nxdomain' AS gone,
        d.mx_outcome IN ('secure', 'insecure', 'nodata', 'nxdomain')
            AND NOT list_contains(d.mx_host, o.host) AS elsewhere,
        -- an answer, and no DANE from it: unsigned now
        d.status = 'insecure' AS unsigned
    FROM (SELECT operator_kind, host, domain, unnest(sample) AS suffers FROM open) o
    JOIN domains d ON d.domain = o.suffers
),
where_to AS (
    SELECT operator_kind, host, domain, max(last_asked) AS seen, count(*) AS known,
        count(*) FILTER (gone) AS gone, bool_and(gone OR elsewhere OR unsigned) AS left_it
    FROM suffered
    GROUP BY ALL
),
surveyed AS (
    -- a domain that the run lacks has left its zone, if the zone itself was there
    SELECT DISTINCT o.operator_kind, o.host, o.domain
    FROM (
        SELECT operator_kind, host, domain,
            unnest(list_append(list_transform(range(2, len(labels) + 1),
                lambda first: array_to_string(labels[first:], '.')), '.')) AS parent
        FROM (SELECT *, string_split(sample[1], '.') AS labels FROM open)
    ) o
    JOIN zones z ON z.zone = o.parent
),
today AS (
    SELECT o.operator_kind, o.host, o.domain, o.failing_until,
        greatest(h.last_asked, p.connected) AS host_seen, h.class, h.status AS host_status,
        d.last_asked AS domain_seen, d.mx_outcome, d.reason,
        w.seen AS where_seen, coalesce(w.known, 0) AS known, w.gone, w.left_it,
        s.host IS NOT NULL AS zone_seen
    FROM open o
    LEFT JOIN mx_hosts h ON h.host = o.host AND o.host <> ''
    LEFT JOIN (SELECT host, max(connected) AS connected FROM probes GROUP BY host) p
        ON p.host = o.host
    LEFT JOIN domains d ON d.domain = o.domain AND o.host = ''
    LEFT JOIN where_to w
        ON (w.operator_kind, w.host, w.domain) = (o.operator_kind, o.host, o.domain)
    LEFT JOIN surveyed s
        ON (s.operator_kind, s.host, s.domain) = (o.operator_kind, o.host, o.domain)
),
judged AS (
    SELECT operator_kind, host, domain, failing_until,
        coalesce(host_seen, domain_seen, where_seen, to_timestamp($started_us / 1e6)) AS seen,
        CASE
            WHEN host_status = 'opted_out' THEN 'not_seen'
            WHEN operator_kind = 'mx' AND class IN ('P', 'P°') THEN 'repaired'
            WHEN operator_kind = 'mx' AND class = 'N' THEN 'tlsa_removed'
            WHEN operator_kind = 'dns' AND class NOT IN ('L', 'A', 'X') THEN 'repaired'
            WHEN mx_outcome = 'nxdomain' OR reason = 'nxdomain' THEN 'domain_gone'
            WHEN mx_outcome IN ('secure', 'insecure', 'nodata') THEN 'repaired'
            -- it is no MX host of theirs any more, or none that DANE holds to anything
            WHEN known > 0 AND left_it AND (class IS NULL OR class = 'F')
            THEN CASE WHEN gone = known THEN 'domain_gone' ELSE 'mx_moved' END
            WHEN $sees_all AND known = 0 AND class IS NULL AND mx_outcome IS NULL
            THEN CASE WHEN zone_seen THEN 'domain_gone' ELSE 'not_seen' END
            WHEN $started_us - epoch_us(failing_until) > $longest_silence_us THEN 'not_seen'
        END AS ended_by
    FROM today
)
SELECT operator_kind, host, domain, greatest(seen, failing_until) AS ended, ended_by
FROM judged
WHERE ended_by IS NOT NULL
