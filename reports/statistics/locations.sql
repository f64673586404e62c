-- Addresses of MX hosts with TLSA records by country and by autonomous system, each address
-- once, IPv4 and IPv6 apart (`publish.geoip`, `publish.asn`). An autonomous system whose hosts
-- have too few domains is counted together with others. Not from public data alone: the files
-- that say where an address is are the operator's.
WITH placed AS (
    SELECT a.address, l.family, l.country, l.asn, sum(h.domains) AS domains
    FROM addresses a JOIN mx_hosts h USING (host) JOIN location l USING (address)
    GROUP BY ALL
),
cell AS (
    SELECT 'country ' || family AS dimension, country AS key, count(*) AS addresses,
        sum(domains) AS domains
    FROM placed WHERE country IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT 'as ' || family, asn, count(*), sum(domains)
    FROM placed WHERE asn IS NOT NULL GROUP BY ALL
)
SELECT 'tlsa_addresses' AS metric, dimension,
    CASE WHEN domains < public_floor() THEN few() ELSE key END AS key,
    sum(addresses) AS value, 'addresses' AS unit
FROM cell GROUP BY ALL
