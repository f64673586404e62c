-- Changes of a mail server's key that need another TLSA record, in the last 31 days, graded by
-- what the looks of 62 days prove (docs/measurement.md, section 9). A server is an address under
-- one name; a change at several addresses of a name is one row, with its worst grade. Needs
-- recent_probes and recent_mx_hosts. Without earlier looks: no rows.
WITH look AS (
    SELECT address, operator, sni, epoch_us(dns_asked) AS asked, epoch_us(connected) AS shown,
        tlsa, record_result, chain[1] AS leaf
    FROM recent_probes
),
fit AS (
    -- the records that matched while the server showed a leaf
    SELECT address, operator, sni, leaf, list(DISTINCT record) AS records
    FROM (
        SELECT address, operator, sni, leaf,
            unnest(tlsa) AS record, unnest(record_result) AS result
        FROM look
        WHERE leaf IS NOT NULL
    )
    WHERE result = 'match'
    GROUP BY ALL
),
leaf AS (
    SELECT address, operator, sni, leaf, min(shown) AS first_shown, max(shown) AS last_shown,
        arg_min(asked, shown) AS first_asked
    FROM look
    WHERE leaf IS NOT NULL
    GROUP BY ALL
),
change AS (
    -- one leaf after another; servers that show several in turn are not rolling over
    SELECT *, lag(leaf) OVER server AS old_leaf, lag(last_shown) OVER server AS old_last_shown
    FROM leaf
    WINDOW server AS (PARTITION BY address, operator, sni ORDER BY first_shown)
    QUALIFY old_last_shown < first_shown
),
seen AS (
    -- every look at a server that changed, beside the change
    SELECT c.*, l.asked, l.leaf = c.old_leaf AS shows_old,
        len(n.records) > 0 AS introduced,
        list_has_any(l.tlsa, o.records) AS has_old,
        coalesce(list_has_any(l.tlsa, n.records), false) AS has_new
    FROM change c
    JOIN fit o ON (o.address, o.operator, o.sni, o.leaf)
        = (c.address, c.operator, c.sni, c.old_leaf)
    LEFT JOIN fit n ON (n.address, n.operator, n.sni, n.leaf)
        = (c.address, c.operator, c.sni, c.leaf)
    JOIN look l ON (l.address, l.operator, l.sni) = (c.address, c.operator, c.sni)
    -- where one record matches both, none has to change
    WHERE coalesce(NOT list_has_any(o.records, n.records), true)
),
dated AS (
    -- a record that came, went and came again counts from the last time
    SELECT *,
        min(asked) FILTER (has_old) OVER event AS old_from,
        max(asked) FILTER (NOT has_new AND asked <= first_asked) OVER event AS introduced_after
    FROM seen
    WINDOW event AS (PARTITION BY address, operator, sni, leaf)
),
bound AS (
    SELECT sni, operator, leaf, introduced, first_shown, first_asked, old_last_shown,
        introduced_after,
        min(asked) FILTER (has_new AND asked > coalesce(introduced_after, 0)) AS introduced_by,
        max(asked) FILTER (has_old) AS old_until,
        bool_or(shows_old AND NOT has_old AND asked > old_from) AS retired_early
    FROM dated
    GROUP BY address, operator, sni, leaf, introduced, first_shown, first_asked,
        old_last_shown, introduced_after
),
ttl AS (
    SELECT tlsa_base AS sni, 1000000 * max(rrsig_original_ttl) AS ttl_us
    FROM recent_mx_hosts
    WHERE tlsa_digest IS NOT NULL
    GROUP BY tlsa_base
),
graded AS (
    SELECT sni, leaf, min(operator) AS operator,
        max(first_shown) AS first_shown, min(old_last_shown) AS old_last_shown,
        min(introduced_by) AS introduced_by,
        min(CASE
            WHEN NOT coalesce(introduced, false) THEN 1
            WHEN introduced_by > first_asked OR first_shown - introduced_after < ttl_us THEN 2
            WHEN retired_early THEN 3
            WHEN old_last_shown - introduced_by < ttl_us OR ttl_us IS NULL
                OR old_until < first_shown THEN 4
            ELSE 5
        END) AS grade
    FROM bound LEFT JOIN ttl USING (sni)
    GROUP BY sni, leaf
)
SELECT sni AS host, operator, leaf,
    make_timestamptz(old_last_shown) AS old_last_shown,
    make_timestamptz(first_shown) AS first_shown,
    make_timestamptz(introduced_by) AS introduced_by,
    ['no_introduction', 'late_introduction', 'early_retirement', 'unobserved', 'correct'][grade]
        AS grade
FROM graded
WHERE first_shown > (SELECT max(shown) FROM look) - 31 * 86400000000
ORDER BY host, leaf
