-- What the zones gave: delegations, and those with DS, which are the surveyed ones. A list
-- of names does not say which are signed.
SELECT 'delegations' AS metric, 'zone' AS dimension, zone AS key,
    delegations AS value, 'delegations' AS unit
FROM zones WHERE delegations IS NOT NULL
UNION ALL
SELECT 'signed_delegations', 'zone', zone, signed, 'delegations'
FROM zones WHERE signed IS NOT NULL
UNION ALL
SELECT 'delegations', 'all', '', sum(delegations), 'delegations'
FROM zones HAVING count(delegations) > 0
UNION ALL
SELECT 'signed_delegations', 'all', '', sum(signed), 'delegations'
FROM zones HAVING count(signed) > 0
