-- Days from confirmation to repair, of the hosts and lookups that were confirmed in the last 365
-- days: the median and the 90th percentile, each by the shortest and by the longest duration that
-- the looks allow. What ended otherwise competes, what is open is censored: the cumulative
-- incidence of Aalen and Johansen (1978). Episodes that began before the first look are left out.
-- A percentile that is not reached is null.
WITH every AS (
    SELECT operator_kind, host, domain, began, good_until, confirmed, failing_until, ended, ended_by
    FROM past_episodes
    WHERE ended IS NOT NULL
    UNION
    SELECT operator_kind, host, domain, began, good_until, confirmed, failing_until, ended, ended_by
    FROM episodes
),
counted AS (
    SELECT operator_kind, ended_by,
        epoch_us(failing_until) - epoch_us(confirmed) AS shortest,
        epoch_us(coalesce(ended, failing_until)) - epoch_us(confirmed) AS longest
    FROM every
    WHERE confirmed IS NOT NULL AND good_until IS NOT NULL
        AND confirmed > (SELECT max(failing_until) FROM every) - INTERVAL 365 DAY
),
duration AS (
    SELECT bound, operator_kind, ended_by, us
    FROM (
        SELECT 'shortest' AS bound, operator_kind, ended_by, shortest AS us FROM counted
        UNION ALL
        SELECT 'longest', operator_kind, ended_by, longest FROM counted
    )
),
event AS (
    SELECT bound, operator_kind, us, count(*) AS here, count(ended_by) AS ends,
        count(*) FILTER (ended_by = 'repaired') AS repairs
    FROM duration
    GROUP BY ALL
),
at_risk AS (
    SELECT *, sum(here) OVER (
        PARTITION BY bound, operator_kind ORDER BY us ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    ) AS risk
    FROM event
),
survival AS (
    SELECT *, coalesce(product(1 - ends / risk) OVER (
        PARTITION BY bound, operator_kind ORDER BY us ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 1) AS survived
    FROM at_risk
),
incidence AS (
    SELECT bound, operator_kind, us, sum(survived * repairs / risk) OVER (
        PARTITION BY bound, operator_kind ORDER BY us
    ) AS repaired
    FROM survival
),
percentile AS (
    SELECT bound, operator_kind, share,
        min(us) FILTER (repaired >= share - 1e-9) / 86400e6 AS days
    FROM incidence, (SELECT unnest([0.5, 0.9]) AS share)
    GROUP BY ALL
)
SELECT 'repair_time' AS metric, 'operator kind, percentile and bound' AS dimension,
    concat_ws(' ', operator_kind, CAST(100 * share AS INTEGER), bound) AS key,
    days AS value, 'days' AS unit
FROM percentile
UNION ALL
SELECT 'repair_time_episodes', 'operator kind and end',
    concat_ws(' ', operator_kind, coalesce(ended_by, 'open')), count(*), 'episodes'
FROM counted
GROUP BY operator_kind, ended_by
