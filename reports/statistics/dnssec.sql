-- DNSSEC parameters of the surveyed domains: algorithms of DNSKEY and of the RRSIG
-- over MX, key sizes, and NSEC3 (RFC 9276). A domain counts once for each member that it has.
WITH parameter AS (
    SELECT rrsig_algorithm, dnskey_algorithm, dnskey_bits,
        coalesce(nsec3param_iterations, nsec3_iterations) AS iterations,
        coalesce(nsec3param_salt_length, nsec3_salt_length) AS salt_length,
        nsec3_opt_out,
        count(*) AS domains
    FROM domains
    GROUP BY ALL
),
dnskey AS (
    SELECT unnest(list_distinct(list_transform(
        list_zip(dnskey_algorithm, dnskey_bits),
        lambda one: one[1] || ' ' || one[2]
    ))) AS key, domains
    FROM parameter
)
SELECT 'dnskey_domains' AS metric, 'algorithm and bits' AS dimension, key,
    sum(domains) AS value, 'domains' AS unit
FROM dnskey GROUP BY key
UNION ALL
SELECT 'mx_rrsig_domains', 'algorithm', CAST(rrsig_algorithm AS VARCHAR), sum(domains), 'domains'
FROM parameter WHERE rrsig_algorithm IS NOT NULL GROUP BY rrsig_algorithm
UNION ALL
SELECT 'nsec3_domains', 'iterations', CAST(iterations AS VARCHAR), sum(domains), 'domains'
FROM parameter WHERE iterations IS NOT NULL GROUP BY iterations
UNION ALL
SELECT 'nsec3_domains', 'salt_length', CAST(salt_length AS VARCHAR), sum(domains), 'domains'
FROM parameter WHERE salt_length IS NOT NULL GROUP BY salt_length
UNION ALL
SELECT 'nsec3_domains', 'opt_out', CASE WHEN nsec3_opt_out THEN 'yes' ELSE 'no' END,
    sum(domains), 'domains'
FROM parameter WHERE nsec3_opt_out IS NOT NULL GROUP BY nsec3_opt_out
