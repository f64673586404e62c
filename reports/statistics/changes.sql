-- Domains that became or ceased to be DANE domains since the last full run of the month
-- before, by what they were before and are now. Without such a run: no rows. Joins carry a
-- 64-bit hash of the domain: two of 25 million are alike once in 60 000 months.
WITH before AS (
    SELECT hash(domain) AS domain, status, dane_primary FROM previous_month_domains
),
now AS (
    SELECT hash(domain) AS domain, status, dane_primary FROM domains
),
gained AS (
    SELECT coalesce(b.status, 'not surveyed') AS was, count(*) AS domains
    FROM (FROM now WHERE dane_primary) n LEFT JOIN before b USING (domain)
    WHERE b.dane_primary IS DISTINCT FROM true
    GROUP BY was
),
lost AS (
    SELECT coalesce(n.status, 'not surveyed') AS is_now, count(*) AS domains
    FROM (FROM before WHERE dane_primary) b LEFT JOIN now n USING (domain)
    WHERE n.dane_primary IS DISTINCT FROM true
    GROUP BY is_now
),
compared AS (SELECT 1 FROM previous_month_domains LIMIT 1)
SELECT 'dane_domains_gained' AS metric, 'all' AS dimension, NULL AS key,
    coalesce((SELECT sum(domains) FROM gained), 0) AS value, 'domains' AS unit
FROM compared
UNION ALL
SELECT 'dane_domains_lost', 'all', NULL, coalesce((SELECT sum(domains) FROM lost), 0), 'domains'
FROM compared
UNION ALL
SELECT 'dane_domains_gained', 'status_before', was, domains, 'domains' FROM gained, compared
UNION ALL
SELECT 'dane_domains_lost', 'status_now', is_now, domains, 'domains' FROM lost, compared
