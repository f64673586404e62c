-- Of the sample of unsigned delegations: how many domains would be DANE if only they were signed,
-- with a 95 % interval; by zone and by operator of the name servers. Of H sampled domains that
-- would be, each one of n: the estimate is H n. The interval holds every number K for which H is
-- within 1.96 standard deviations of K / n, where the variance is K / n (1 - 1 / n): the score
-- interval of a number from a sample without replacement. A zone or operator with too few sampled
-- domains is counted with others.
WITH sampled AS (
    SELECT 'all' AS dimension, NULL AS key, sampled_one_of, if_signed = 'dane' AS dane
    FROM unsigned_sample
    UNION ALL
    SELECT 'zone', zone, sampled_one_of, if_signed = 'dane' FROM unsigned_sample
    UNION ALL
    SELECT 'dns_operator', unnest(dns_operator), sampled_one_of, if_signed = 'dane'
    FROM unsigned_sample
),
cell AS (
    SELECT dimension, key, count(*) AS domains FROM sampled
    WHERE dimension <> 'all' GROUP BY ALL
),
placed AS (
    SELECT dimension, key, domains,
        sum(domains) FILTER (WHERE domains < public_floor()) OVER (PARTITION BY dimension) AS rest,
        row_number() OVER (
            PARTITION BY dimension, domains >= public_floor() ORDER BY domains, key
        ) AS place
    FROM cell
),
shown AS (
    SELECT dimension, key, named(key, domains, rest, place) AS name FROM placed
    UNION ALL
    SELECT 'all', NULL, NULL
),
counted AS (
    SELECT s.dimension, n.name AS key, count(*) AS domains, avg(s.sampled_one_of) AS one_of,
        count(*) FILTER (WHERE s.dane) AS hits
    FROM sampled s
    JOIN shown n ON n.dimension = s.dimension AND n.key IS NOT DISTINCT FROM s.key
    GROUP BY s.dimension, n.name
),
bounded AS (
    SELECT *, 1.96 * 1.96 * (1 - 1 / one_of) AS spread FROM counted
),
estimated AS (
    SELECT dimension, key, domains, round(hits * one_of) AS estimate,
        greatest(hits, round(
            one_of * (hits + spread / 2 - sqrt(spread * hits + spread * spread / 4))
        )) AS low,
        round(one_of * (hits + spread / 2 + sqrt(spread * hits + spread * spread / 4))) AS high
    FROM bounded
)
SELECT 'unsigned_sampled' AS metric, dimension, key, domains AS value, 'domains' AS unit
FROM estimated
UNION ALL SELECT 'dane_if_signed', dimension, key, estimate, 'domains' FROM estimated
UNION ALL SELECT 'dane_if_signed_low', dimension, key, low, 'domains' FROM estimated
UNION ALL SELECT 'dane_if_signed_high', dimension, key, high, 'domains' FROM estimated
