-- The cells of `domain_counts` before anything is folded, but for names that too few
-- domains depend on.
CREATE TEMP TABLE cell AS
WITH counted AS (
    SELECT zone, status, coalesce(stage, reason, level) AS detail,
        dane_primary, mx_secure, sha1_only,
        CASE len(mx_operator) WHEN 0 THEN NULL WHEN 1 THEN mx_operator[1] ELSE '(several)' END
            AS mx_operator,
        CASE len(dns_operator) WHEN 0 THEN NULL WHEN 1 THEN dns_operator[1] ELSE '(several)' END
            AS dns_operator,
        coalesce(rrsig_algorithm, list_min(dnskey_algorithm)) AS algorithm,
        count(*) AS domains
    FROM settled_domains
    GROUP BY ALL
)
SELECT * REPLACE (
    CASE WHEN of_zone < public_floor() THEN few() ELSE zone END AS zone,
    CASE WHEN names_nobody(mx_operator) THEN mx_operator
        WHEN of_mx_operator < public_floor() THEN few() ELSE mx_operator END AS mx_operator,
    CASE WHEN names_nobody(dns_operator) THEN dns_operator
        WHEN of_dns_operator < public_floor() THEN few() ELSE dns_operator END AS dns_operator
)
FROM (
    SELECT *,
        sum(domains) OVER (PARTITION BY zone) AS of_zone,
        sum(domains) OVER (PARTITION BY mx_operator) AS of_mx_operator,
        sum(domains) OVER (PARTITION BY dns_operator) AS of_dns_operator
    FROM counted
);
CREATE OR REPLACE TEMP TABLE cell AS
SELECT zone, status, detail, dane_primary, mx_secure, sha1_only, mx_operator, dns_operator,
    algorithm, CAST(sum(domains) AS BIGINT) AS domains
FROM cell GROUP BY ALL;
CREATE TEMP TABLE marginal AS
SELECT zone, mx_operator, dns_operator, dane_primary, mx_secure, sum(domains) AS domains
FROM cell GROUP BY ALL;
