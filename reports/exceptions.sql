-- Domains that a sender which enforces DANE cannot deliver to, with the hosts to blame. An
-- exception holds for all hosts of a domain, so none where the TLSA lookup of one fails: what
-- that host promises is not known.
SELECT d.domain, b.host, b.status, b.state, b.last_look
FROM breakages b
JOIN domains d USING (domain)
WHERE b.operator_kind = 'mx' AND d.deliverable IS false
    AND NOT list_contains(d.host_class, 'L')
ORDER BY d.domain, b.host
