-- The public list: confirmed breakages by operator and host; domains are only counted. A
-- host that is itself a surveyed domain would name it: left out.
WITH confirmed AS (FROM breakages WHERE state = 'confirmed'),
own AS (SELECT domain AS host FROM domains SEMI JOIN confirmed ON domains.domain = confirmed.host),
kind AS (
    SELECT operator_kind, host,
        list(DISTINCT fault ORDER BY fault) FILTER (fault <> 'any' AND state = 'confirmed')
            AS confirmed_faults
    FROM confirmations
    WHERE host <> ''
    GROUP BY ALL
)
SELECT operator_kind, operator, host, status, stage, state,
    count(DISTINCT domain) AS domains,
    min(first_look) AS first_look,
    max(last_look) AS last_look,
    coalesce(any_value(confirmed_faults), []) AS confirmed_faults
FROM confirmed ANTI JOIN own USING (host) LEFT JOIN kind USING (operator_kind, host)
GROUP BY operator_kind, operator, host, status, stage, state
ORDER BY operator_kind, operator, host, status, stage
