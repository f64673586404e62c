-- The public list: confirmed breakages by operator and host; domains are only counted.
SELECT operator_kind, operator, host, status, stage, state,
    count(DISTINCT domain) AS domains,
    min(first_look) AS first_look,
    max(last_look) AS last_look
FROM breakages
WHERE state = 'confirmed'
GROUP BY ALL
ORDER BY operator_kind, operator, host, status, stage
