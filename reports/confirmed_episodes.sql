-- The public episodes: those of MX hosts that were confirmed. Where too few domains suffered,
-- or the host may not be named, the row is without names.
SELECT DISTINCT CASE WHEN shown THEN operator ELSE few() END AS operator,
    * EXCLUDE (operator, host, operators, domain, stage, evidence, sample, shown),
    CASE WHEN shown THEN host ELSE few() END AS host
FROM (
    SELECT unnest(operators) AS operator, *,
        domains >= public_floor() AND (
            host IN (SELECT host FROM public_host)
            OR (ended IS NOT NULL AND host IN (SELECT name FROM names WHERE kind = 'mx_host'))
        ) AS shown
    FROM episodes
    WHERE confirmed IS NOT NULL AND host <> ''
)
ORDER BY operator_kind, operator, host, began, failing_until
