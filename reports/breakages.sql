-- Breakages of a run, one row a (operator, MX host, domain): what fails, and whether the host or
-- the lookup is confirmed. Needs failing and confirmations of the run.
SELECT f.operator_kind, f.operator, f.host, f.domain, f.status, f.stage,
    c.state, f.level, f.fault, c.rollover_in_progress, c.looks, c.first_look, c.last_look,
    f.seen, c.unchanged_since, c.observed, f.addresses, f.causes, f.dns_cause, f.zone,
    f.failed_name, f.contact, f.defects, f.evidence
FROM failing f
JOIN confirmations c
    ON c.operator_kind = f.operator_kind AND c.host = f.host
    AND c.domain = CASE WHEN f.host = '' THEN f.domain ELSE '' END AND c.fault = 'any'
ORDER BY f.operator_kind, f.operator, f.host, f.domain
