-- The public list: confirmed breakages by operator and host; domains are only counted. What
-- too few domains suffer from, or a host that may not be named, is counted together.
WITH confirmed AS (FROM breakages WHERE state = 'confirmed'),
kind AS (
    SELECT operator_kind, host,
        list(DISTINCT fault ORDER BY fault) FILTER (fault <> 'any' AND state = 'confirmed')
            AS confirmed_faults
    FROM confirmations
    WHERE host <> ''
    GROUP BY ALL
),
counted AS (
    SELECT operator_kind, operator, host, status, stage, state,
        count(DISTINCT domain) AS domains,
        min(first_look) AS first_look, max(last_look) AS last_look,
        coalesce(any_value(confirmed_faults), []) AS confirmed_faults
    FROM confirmed LEFT JOIN kind USING (operator_kind, host)
    GROUP BY operator_kind, operator, host, status, stage, state
),
marked AS (
    SELECT *, domains >= public_floor()
        AND (host = '' OR host IN (SELECT host FROM public_host)) AS shown
    FROM counted
),
folded AS (
    SELECT operator_kind,
        CASE WHEN shown THEN operator ELSE few() END AS operator,
        CASE WHEN shown THEN host WHEN host <> '' THEN few() ELSE host END AS host,
        status, stage, state, domains, first_look, last_look, confirmed_faults
    FROM marked
)
SELECT operator_kind, operator, host, status, stage, state,
    CAST(sum(domains) AS BIGINT) AS domains,
    min(first_look) AS first_look,
    max(last_look) AS last_look,
    list_sort(list_distinct(flatten(list(confirmed_faults)))) AS confirmed_faults
FROM folded
GROUP BY operator_kind, operator, host, status, stage, state
ORDER BY operator_kind, operator, host, status, stage
