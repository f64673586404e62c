-- $1 run: of the operators of MX hosts, and of the address blocks (/24, /48) that were connected to,
-- how many there are, and how many of them were silent: nothing there could be connected to.
WITH visited AS (
    SELECT operator, address::inet AS address, bool_and(status = 'unreachable') AS silent
    FROM smtp_probe
    WHERE run_id = $1 AND status NOT IN ('opted_out', 'reserved_address', 'unprobed')
    GROUP BY operator, address
),
operators AS (SELECT bool_and(silent) AS silent FROM visited GROUP BY operator),
blocks AS (
    SELECT bool_and(silent) AS silent FROM visited
    GROUP BY network(set_masklen(address, CASE family(address) WHEN 4 THEN 24 ELSE 48 END))
)
SELECT 'operators' AS kind, count(*) AS groups, count(*) FILTER (WHERE silent) AS silent
FROM operators
UNION ALL
SELECT 'address blocks', count(*), count(*) FILTER (WHERE silent) FROM blocks
