-- Domains that a sender which enforces DANE cannot deliver to, with the hosts to blame and the
-- kinds of fault that are confirmed of each host by themselves. An exception holds for all hosts
-- of a domain, so none where the TLSA lookup of one fails: what that host promises is not known.
WITH kind AS (
    SELECT host,
        list(struct_pack(fault, last_look) ORDER BY fault)
            FILTER (fault <> 'any' AND state = 'confirmed') AS kinds
    FROM confirmations
    WHERE operator_kind = 'mx'
    GROUP BY host
)
SELECT d.domain, b.host, b.fault, coalesce(kind.kinds, []) AS kinds
FROM breakages b
JOIN domains d USING (domain)
LEFT JOIN kind ON kind.host = b.host
WHERE b.operator_kind = 'mx' AND d.deliverable IS false
    AND NOT list_contains(d.host_class, 'L')
ORDER BY d.domain, b.host
