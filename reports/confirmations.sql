-- How far each host and lookup that fails is from being confirmed (docs/measurement.md, section
-- 9): a host whatever its fault is from day to day (`any`), and each kind of fault by itself.
-- Needs failing and endings of the run, and previous_run_confirmations, this table of the run
-- before. A look that says nothing leaves a row as it was, until the gap is too long.
-- Parameters ending in _us are microseconds.
WITH subject AS (
    SELECT operator_kind, host, CASE WHEN host = '' THEN domain ELSE '' END AS domain,
        min(fault) AS fault, max(seen) AS seen, max(apart_us) AS apart_us,
        max(fault_apart_us) AS fault_apart_us, max(ttl_s) AS ttl_s, min(observed) AS observed
    FROM failing
    GROUP BY ALL
),
look AS (
    SELECT operator_kind, host, domain, 'any' AS fault, seen, ttl_s, observed,
        apart_us >= $attempts_apart_us AS counts
    FROM subject
    UNION ALL
    SELECT operator_kind, host, domain, fault, seen, ttl_s, observed,
        fault_apart_us >= $attempts_apart_us
    FROM subject
    WHERE operator_kind = 'mx'
),
follow AS (
    -- what the run before says of the same row, if that is near enough to be in a row
    SELECT t.*, p.looks AS looks_before, p.first_look AS first_before, p.last_look AS last_before,
        coalesce(
            p.looks > 0
            AND epoch_us(t.seen) - epoch_us(p.last_look) BETWEEN 1 AND $greatest_gap_us,
            false
        ) AS in_a_row,
        coalesce(epoch_us(t.seen) - epoch_us(p.last_look) >= $least_gap_us, true) AS spaced,
        -- what was seen before is not new: two leaves that take turns are no rollover; nor is
        -- the first leaf that is seen, for without STARTTLS none is
        p.observed IS NOT NULL AND len(list_filter(t.observed, lambda one:
            NOT list_contains(p.observed, one)
            AND (one LIKE 'tlsa %' OR array_to_string(p.observed, ' ') LIKE '%leaf %'))) > 0
            AS is_new,
        p.rollover_in_progress, p.unchanged_since AS unchanged_before, p.observed AS observed_before
    FROM look t
    LEFT JOIN previous_run_confirmations p USING (operator_kind, host, domain, fault)
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
        CASE WHEN is_new OR unchanged_before IS NULL THEN seen ELSE unchanged_before END
            AS unchanged_since,
        epoch_us(seen) - epoch_us(unchanged_since) >= 2 * ttl_s * 1000000 AS settled
    FROM follow
),
seen_today AS (
    SELECT operator_kind, host, domain, fault,
        CASE
            WHEN counts AND settled AND looks >= $looks
                AND epoch_us(last_look) - epoch_us(first_look) >= $span_us
            THEN 'confirmed'
            ELSE 'suspected'
        END AS state,
        looks, first_look, last_look, unchanged_since,
        (is_new OR coalesce(rollover_in_progress, false)) AND NOT settled AS rollover_in_progress,
        CASE
            WHEN len(observed_before) > $most_observed THEN observed
            ELSE list_sort(list_distinct(list_concat(coalesce(observed_before, []), observed)))
        END AS observed
    FROM streak
),
waiting AS (
    -- nothing was learned of it, neither good nor bad
    SELECT p.*
    FROM previous_run_confirmations p
    ANTI JOIN look USING (operator_kind, host, domain, fault)
    ANTI JOIN endings USING (operator_kind, host, domain)
    LEFT JOIN subject t USING (operator_kind, host, domain)
    WHERE $started_us - epoch_us(p.last_look) <= $greatest_gap_us
        -- the handshake worked: STARTTLS and TLS are there
        AND NOT (p.fault = 'tls' AND coalesce(t.fault = 'certificate', false))
)
FROM seen_today
UNION ALL BY NAME
FROM waiting
ORDER BY operator_kind, host, domain, fault
