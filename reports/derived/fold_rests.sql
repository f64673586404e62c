-- The domains of a name in $dimension whose cells are folded must not be too few either: the
-- total of the name minus its cells would tell. Then its smallest cell goes with them. `$within`
-- are the further columns by which such totals are published.
CREATE OR REPLACE TEMP TABLE cell AS
WITH shown AS (
    SELECT $within, sum(domains) AS domains
    FROM cell WHERE NOT names_nobody($dimension) GROUP BY ALL
),
total AS (
    SELECT $within, sum(domains) AS domains
    FROM marginal WHERE NOT names_nobody($dimension) GROUP BY ALL
),
short AS (
    SELECT $within
    FROM shown JOIN total USING ($within)
    WHERE total.domains - shown.domains BETWEEN 1 AND public_floor() - 1
),
placed AS (
    SELECT c.*, row_number() OVER (
        PARTITION BY $within
        ORDER BY c.domains, c.zone, c.status, c.detail, c.sha1_only, c.mx_operator,
            c.dns_operator, c.algorithm, c.dane_primary, c.mx_secure
    ) AS place
    FROM cell c
)
SELECT zone, status, detail, dane_primary, mx_secure, sha1_only, mx_operator, dns_operator,
    algorithm, CAST(sum(domains) AS BIGINT) AS domains
FROM (
    SELECT * REPLACE (
        CASE WHEN place = 1 AND ($within) IN (FROM short) THEN few() ELSE $dimension END
            AS $dimension
    )
    FROM placed
)
GROUP BY ALL;
