-- The public episodes: those of MX hosts that were confirmed. Where too few domains suffered,
-- or the host may not be named, rows are without names, and equal ones are counted together.
SELECT operator_kind,
    CASE WHEN shown THEN operator ELSE few() END AS operator,
    CASE WHEN shown THEN host ELSE few() END AS host,
    good_until, began, confirmed, failing_until, ended, ended_by, recurrence, looks, kind, cause,
    CAST(sum(domains) AS BIGINT) AS domains
FROM (
    SELECT unnest(operators) AS operator, *,
        domains >= public_floor() AND (
            host IN (SELECT host FROM public_host)
            OR (ended IS NOT NULL AND host IN (SELECT name FROM names WHERE kind = 'mx_host'))
        ) AS shown
    FROM episodes
    WHERE confirmed IS NOT NULL AND host <> ''
)
GROUP BY ALL
ORDER BY operator_kind, operator, host, began, failing_until, kind, cause, good_until, confirmed,
    ended, ended_by, recurrence, looks
