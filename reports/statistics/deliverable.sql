-- Whether a sender that enforces DANE can deliver.
SELECT 'domains' AS metric, 'deliverable' AS dimension,
    CASE WHEN status = 'unsettled' THEN 'unsettled' WHEN deliverable THEN 'yes'
        WHEN NOT deliverable THEN 'no' ELSE 'unknown' END AS key,
    count(*) AS value, 'domains' AS unit
FROM settled_domains GROUP BY ALL
