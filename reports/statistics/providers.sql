-- DANE domains by operator of the MX hosts that carry the claim: the most preferred ones
-- with DANE. A domain counts once for each operator; nearly all have one, which needs no
-- join. Operators known only as MX hosts that are surveyed domains themselves are counted
-- together: these rows are public.
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
),
part AS (
    SELECT mx_operator[1] AS operator, count(*) AS domains,
        bool_and(mx_host = [domain]) AS own_only
    FROM dane WHERE len(mx_operator) = 1 GROUP BY 1
    UNION ALL
    SELECT operator, count(*), false FROM pair GROUP BY 1
),
counted AS (
    SELECT CASE WHEN bool_and(own_only) THEN '(their own only)' ELSE operator END AS key,
        sum(domains) AS domains
    FROM part
    GROUP BY operator
)
SELECT 'dane_domains' AS metric, 'mx_operator' AS dimension, key,
    sum(domains) AS value, 'domains' AS unit
FROM counted
GROUP BY key
