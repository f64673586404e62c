-- The changes by reason and operator, without domains. What an operator broke or repaired is
-- named only where it is confirmed, or else counted together; so are small cells.
WITH confirmed AS (
    SELECT DISTINCT domain FROM breakages WHERE state = 'confirmed'
),
named_change AS (
    SELECT c.headline, c.direction, c.reason,
        CASE WHEN says THEN c.operator_before ELSE '(not confirmed)' END AS operator_before,
        CASE WHEN says THEN c.operator_now ELSE '(not confirmed)' END AS operator_now
    FROM (
        SELECT d.*, d.reason NOT IN ('broke', 'repaired', 'lookup_fails', 'lookup_works')
            OR (d.reason IN ('broke', 'lookup_fails') AND confirmed.domain IS NOT NULL) AS says
        FROM changes d LEFT JOIN confirmed USING (domain)
    ) c
),
cell AS (
    SELECT *, count(*) AS domains,
        NOT (names_nobody(operator_before) AND names_nobody(operator_now)) AS names_somebody
    FROM named_change GROUP BY ALL
),
placed AS (
    SELECT *,
        sum(domains) FILTER (WHERE names_somebody AND domains < public_floor())
            OVER (PARTITION BY headline, direction, reason) AS rest,
        row_number() OVER (
            PARTITION BY headline, direction, reason, names_somebody AND domains >= public_floor()
            ORDER BY domains, operator_before, operator_now
        ) AS place
    FROM cell
),
folded AS (
    SELECT headline, direction, reason, domains,
        names_somebody AND named('x', domains, rest, place) <> 'x' AS folds,
        operator_before, operator_now
    FROM placed
)
SELECT headline, direction, reason,
    CASE WHEN folds THEN few() ELSE operator_before END AS operator_before,
    CASE WHEN folds THEN few() ELSE operator_now END AS operator_now,
    CAST(sum(domains) AS BIGINT) AS domains
FROM folded
GROUP BY ALL
ORDER BY ALL
