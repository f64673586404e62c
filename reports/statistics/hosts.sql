-- MX hosts and the zones that they are in; hosts with a secure TLSA RRset are those of
-- classes F, P, P° and Q, but for those that opted out before they were asked for. A provider's
-- many hosts in one zone count as one zone. What is not confirmed is unsettled.
WITH tlsa AS (
    SELECT host, coalesce(rrsig_signer, operator) AS zone
    FROM mx_hosts
    WHERE class IN ('F', 'P', 'P°', 'Q') AND tlsa_digest IS NOT NULL
)
SELECT 'mx_hosts' AS metric, 'all' AS dimension, NULL AS key,
    count(*) AS value, 'hosts' AS unit
FROM mx_hosts
UNION ALL
SELECT 'mx_hosts', 'status', status, count(*), 'hosts' FROM settled_hosts GROUP BY status
UNION ALL
SELECT 'tlsa_mx_hosts', 'all', NULL, count(*), 'hosts' FROM tlsa
UNION ALL
SELECT 'tlsa_mx_zones', 'all', NULL, count(DISTINCT zone), 'zones' FROM tlsa
UNION ALL
SELECT 'mx_host_defects', 'defect', defect, count(*), 'hosts'
FROM (SELECT unnest(list_distinct(defects)) AS defect FROM mx_hosts) GROUP BY defect
UNION ALL
SELECT 'mx_host_causes', 'cause', cause, count(*), 'hosts'
FROM (SELECT unnest(list_distinct(causes)) AS cause FROM settled_hosts) GROUP BY cause
UNION ALL
SELECT 'addresses', 'status',
    CASE WHEN h.unsettled THEN 'unsettled' ELSE a.status END, count(*), 'addresses'
FROM addresses a LEFT JOIN settled_hosts h USING (host) GROUP BY ALL
