-- Episodes: from the first look at which a host or lookup fails to the first good one after it.
-- The open ones of this run, and those that this run ended. Needs failing, confirmations and
-- endings of the run; previous_run_episodes; past_episodes (this table of all runs of a year);
-- recent_mx_hosts and previous_run_domains, for the last good look before.
WITH today AS (
    SELECT operator_kind, host, CASE WHEN host = '' THEN domain ELSE '' END AS domain,
        list(DISTINCT operator ORDER BY operator) AS operators,
        min(status) AS status, min(stage) AS stage, max(seen) AS seen,
        min(seen) AS first_seen, min(causes) AS causes, min(evidence) AS evidence,
        count(DISTINCT failing.domain) AS domains,
        list_slice(list(DISTINCT failing.domain ORDER BY failing.domain), 1, $most_sampled)
            AS sample
    FROM failing
    GROUP BY 1, 2, 3
),
open AS (FROM previous_run_episodes WHERE ended IS NULL),
good AS (
    -- the last look before this run that was good
    SELECT t.operator_kind, t.host, t.domain, max(r.last_asked) AS good_until
    FROM today t
    JOIN recent_mx_hosts r ON r.host = t.host AND t.host <> '' AND r.last_asked < t.first_seen
    WHERE (t.operator_kind = 'mx' AND r.class IN ('P', 'P°', 'N'))
        OR (t.operator_kind = 'dns' AND r.class NOT IN ('L', 'A', 'X'))
    GROUP BY ALL
    UNION ALL
    SELECT t.operator_kind, t.host, t.domain, max(d.last_asked)
    FROM today t
    JOIN previous_run_domains d ON d.domain = t.domain AND t.host = ''
    WHERE d.mx_outcome IN ('secure', 'insecure', 'nodata', 'nxdomain')
    GROUP BY ALL
),
past AS (
    -- one row an episode that is over, whatever runs name it
    SELECT operator_kind, host, domain, began, min(ended) AS ended
    FROM past_episodes
    WHERE ended IS NOT NULL
    GROUP BY ALL
),
failing_now AS (
    SELECT t.operator_kind, t.operators, t.host, t.domain, t.stage,
        CASE WHEN o.began IS NULL THEN g.good_until ELSE o.good_until END AS good_until,
        coalesce(o.began, t.first_seen) AS began,
        coalesce(o.confirmed, CASE WHEN c.state = 'confirmed' THEN c.last_look END) AS confirmed,
        t.seen AS failing_until,
        CAST(NULL AS TIMESTAMPTZ) AS ended,
        CAST(NULL AS VARCHAR) AS ended_by,
        coalesce(o.looks, 0) + 1 AS looks,
        CASE t.operator_kind WHEN 'mx' THEN t.status ELSE 'lookup' END AS kind,
        t.causes[1] AS cause,
        t.evidence, t.domains, t.sample
    FROM today t
    LEFT JOIN open o USING (operator_kind, host, domain)
    LEFT JOIN good g USING (operator_kind, host, domain)
    LEFT JOIN confirmations c
        ON (c.operator_kind, c.host, c.domain, c.fault) = (t.operator_kind, t.host, t.domain, 'any')
),
others AS (
    -- over now, or without news
    SELECT o.* EXCLUDE (ended, ended_by, recurrence), e.ended, e.ended_by
    FROM open o
    ANTI JOIN today USING (operator_kind, host, domain)
    LEFT JOIN endings e USING (operator_kind, host, domain)
),
every AS (FROM failing_now UNION ALL BY NAME FROM others)
SELECT e.*,
    (SELECT count(*) FROM past p
     WHERE (p.operator_kind, p.host, p.domain) = (e.operator_kind, e.host, e.domain)
        AND p.ended <= e.began AND epoch_us(e.began) - epoch_us(p.ended) <= $recurrence_us
    ) AS recurrence
FROM every e
ORDER BY operator_kind, host, domain, began
