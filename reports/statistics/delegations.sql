-- What the zones gave: delegations, and those with DS, which are the surveyed ones.
SELECT 'delegations' AS metric, 'all' AS dimension, '' AS key,
    sum(delegations) AS value, 'delegations' AS unit
FROM zones HAVING count(*) > 0
UNION ALL
SELECT 'signed_delegations', 'all', '', sum(signed), 'delegations'
FROM zones HAVING count(*) > 0
UNION ALL
SELECT 'delegations', 'zone', zone, delegations, 'delegations' FROM zones
UNION ALL
SELECT 'signed_delegations', 'zone', zone, signed, 'delegations' FROM zones
