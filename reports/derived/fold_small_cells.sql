-- One step: in cells that are too small, the name in $dimension gives way.
CREATE OR REPLACE TEMP TABLE cell AS
SELECT * REPLACE (CAST(sum(domains) AS BIGINT) AS domains)
FROM (
    SELECT * REPLACE (
        CASE WHEN domains < public_floor() AND NOT names_nobody($dimension) THEN few()
            ELSE $dimension END AS $dimension
    )
    FROM cell
)
GROUP BY ALL;
