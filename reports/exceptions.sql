-- Domains that a sender which enforces DANE cannot deliver to, with the hosts to blame.
SELECT d.domain, b.host, b.status, b.state, b.last_look
FROM breakages b
JOIN domains d USING (domain)
WHERE b.operator_kind = 'mx' AND d.deliverable IS false
ORDER BY d.domain, b.host
