-- The public list: confirmed breakages by operator and host; domains are only counted. A
-- host that is itself a surveyed domain would name it: left out.
WITH confirmed AS (FROM breakages WHERE state = 'confirmed'),
own AS (SELECT domain AS host FROM domains SEMI JOIN confirmed ON domains.domain = confirmed.host)
SELECT operator_kind, operator, host, status, stage, state,
    count(DISTINCT domain) AS domains,
    min(first_look) AS first_look,
    max(last_look) AS last_look
FROM confirmed ANTI JOIN own USING (host)
GROUP BY ALL
ORDER BY operator_kind, operator, host, status, stage
