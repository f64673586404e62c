-- MX operators with enough domains, and what they do. DANE domains count at the operators of
-- the most preferred hosts that carry the claim, as in providers.sql; a number that is too
-- small is null. Rank and domains of the month before are what was published then.
WITH depending AS (
    SELECT operator, count(*) AS domains
    FROM (SELECT unnest(mx_operator) AS operator FROM domains)
    GROUP BY operator HAVING count(*) >= public_floor()
),
dane AS (SELECT operator, sum(domains) AS domains FROM dane_domains_by_operator GROUP BY operator),
host AS (
    SELECT operator, count(*) AS hosts,
        count(*) FILTER (WHERE tlsa_digest IS NOT NULL) AS tlsa_hosts,
        list_sort(list_distinct(flatten(list(list_transform(
            tlsa, lambda record: array_to_string(string_split(record, ' ')[1:3], ' ')
        ))))) AS parameters,
        list_sort(list_distinct(list(scheme) FILTER (WHERE scheme IS NOT NULL))) AS schemes
    FROM settled_hosts GROUP BY operator
),
broken AS (
    SELECT operator, count(DISTINCT domain) AS domains
    FROM breakages WHERE state = 'confirmed' AND operator_kind = 'mx' GROUP BY operator
),
counted AS (
    SELECT d.operator, d.domains, coalesce(dane.domains, 0) AS dane,
        coalesce(h.hosts, 0) AS hosts, coalesce(h.tlsa_hosts, 0) AS tlsa_hosts,
        coalesce(h.parameters, []) AS parameters, coalesce(h.schemes, []) AS schemes,
        coalesce(b.domains, 0) AS broken
    FROM depending d
    LEFT JOIN dane USING (operator)
    LEFT JOIN host h USING (operator)
    LEFT JOIN broken b USING (operator)
),
shown AS (
    SELECT *,
        CASE WHEN dane BETWEEN 1 AND public_floor() - 1 THEN NULL ELSE dane END AS dane_domains,
        CASE WHEN broken BETWEEN 1 AND public_floor() - 1 THEN NULL ELSE broken END
            AS confirmed_broken_domains
    FROM counted
)
SELECT s.operator, s.domains, s.dane_domains, s.hosts, s.tlsa_hosts, s.schemes, s.parameters,
    s.confirmed_broken_domains,
    CASE WHEN s.dane_domains > 0
        THEN rank() OVER (ORDER BY s.dane_domains DESC NULLS LAST) END AS rank,
    b.dane_domains AS dane_domains_before, b.rank AS rank_before
FROM shown s LEFT JOIN previous_month_operators b USING (operator)
ORDER BY s.operator
