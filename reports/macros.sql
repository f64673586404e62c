-- What every statistic needs beside the tables. `$floor` is `publish.public_floor`, which the
-- manifest says for each run.
CREATE MACRO public_floor() AS $floor;
CREATE MACRO few() AS '(fewer than $floor domains)';
-- The key of a cell that names somebody: itself where at least so many domains stand behind it,
-- else `few()`. `rest` is the sum of the cells that are too small, `place` the rank among the
-- others, the smallest first. Where the rest alone would be too small, the smallest goes with it:
-- else the total minus the named cells would give it away.
CREATE MACRO named(key, domains, rest, place) AS
    CASE WHEN domains < public_floor() OR (rest BETWEEN 1 AND public_floor() - 1 AND place = 1)
        THEN few() ELSE key END;
-- Whether a word stands for nobody in particular.
CREATE MACRO names_nobody(key) AS key IS NULL OR key LIKE '(%)';

-- Confirmed breakage decides what may be said: a host in class F or L, or a domain that
-- is broken or fails, is `unsettled` until then (docs/measurement.md, section 9).
CREATE VIEW settled_hosts AS
SELECT h.* REPLACE (
    CASE WHEN unsettled THEN 'unsettled' ELSE status END AS status,
    CASE WHEN unsettled THEN 'unsettled' ELSE class END AS class,
    CASE WHEN unsettled THEN [] ELSE causes END AS causes
)
FROM (
    SELECT mx_hosts.*, class IN ('F', 'L') AND confirmed.host IS NULL AS unsettled
    FROM mx_hosts
    LEFT JOIN (SELECT DISTINCT host FROM breakages WHERE state = 'confirmed' AND host <> '')
        AS confirmed USING (host)
) h;

CREATE VIEW settled_domains AS
SELECT d.* REPLACE (
    CASE WHEN unsettled THEN 'unsettled' ELSE status END AS status,
    CASE WHEN unsettled THEN NULL ELSE stage END AS stage,
    CASE WHEN unsettled THEN NULL ELSE level END AS level
)
FROM (
    SELECT domains.*,
        (status = 'broken' AND NOT coalesce(list_contains(kinds, 'mx'), false))
            OR (status = 'lookup_failed' AND NOT coalesce(list_contains(kinds, 'dns'), false))
            AS unsettled
    FROM domains
    LEFT JOIN (
        SELECT domain, list(DISTINCT operator_kind) AS kinds
        FROM breakages WHERE state = 'confirmed' GROUP BY domain
    ) AS confirmed USING (domain)
) d;

-- DANE domains by operator of the MX hosts that carry the claim: the most preferred ones with
-- DANE. Nearly all domains have one operator, which needs no join.
CREATE VIEW dane_domains_by_operator AS
WITH dane AS (
    SELECT domain, mx_host, mx_preference, host_class, mx_operator
    FROM domains
    WHERE dane_primary
),
several AS (
    SELECT domain, mx_host, mx_preference, host_class,
        list_min(list_transform(
            list_filter(list_zip(mx_preference, host_class), lambda one: one[2] <> '-'),
            lambda one: one[1]
        )) AS primary_preference
    FROM dane
    WHERE len(mx_operator) <> 1
),
pair AS (
    SELECT DISTINCT s.domain, h.operator
    FROM (
        SELECT domain, primary_preference, unnest(mx_host) AS host,
            unnest(mx_preference) AS preference, unnest(host_class) AS class
        FROM several
    ) s
    JOIN mx_hosts h USING (host)
    WHERE s.preference = s.primary_preference AND s.class IN ('P', 'Q')
)
SELECT operator, CAST(sum(domains) AS BIGINT) AS domains
FROM (
    SELECT mx_operator[1] AS operator, count(*) AS domains
    FROM dane WHERE len(mx_operator) = 1 GROUP BY 1
    UNION ALL
    SELECT operator, count(*) FROM pair GROUP BY 1
)
GROUP BY operator;
