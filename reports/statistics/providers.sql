-- DANE domains by operator of the MX hosts that carry the claim: the most preferred ones
-- with DANE. A domain counts once for each operator (`dane_domains_by_operator` in
-- macros.sql). Operators with too few are counted together.
WITH placed AS (
    SELECT operator, domains,
        sum(domains) FILTER (WHERE domains < public_floor()) OVER () AS rest,
        row_number() OVER (PARTITION BY domains >= public_floor() ORDER BY domains, operator)
            AS place
    FROM dane_domains_by_operator
)
SELECT 'dane_domains' AS metric, 'mx_operator' AS dimension,
    named(operator, domains, rest, place) AS key, sum(domains) AS value, 'domains' AS unit
FROM placed GROUP BY ALL
