-- What the zones gave: delegations, and those with DS, which are the surveyed ones. A list
-- of names does not say which are signed. Zones with too few are counted together.
WITH cell AS (
    SELECT 'delegations' AS metric, zone, delegations AS domains
    FROM zones WHERE delegations IS NOT NULL
    UNION ALL
    SELECT 'signed_delegations', zone, signed FROM zones WHERE signed IS NOT NULL
),
placed AS (
    SELECT metric, zone, domains,
        sum(domains) FILTER (WHERE domains < public_floor()) OVER (PARTITION BY metric) AS rest,
        row_number() OVER (
            PARTITION BY metric, domains >= public_floor() ORDER BY domains, zone
        ) AS place
    FROM cell
)
SELECT metric, 'zone' AS dimension, named(zone, domains, rest, place) AS key,
    sum(domains) AS value, 'delegations' AS unit
FROM placed GROUP BY ALL
UNION ALL
SELECT metric, 'all', NULL, sum(domains), 'delegations' FROM cell GROUP BY metric
