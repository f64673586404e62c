-- The public episodes: those of MX hosts that were confirmed. A host that is itself a surveyed
-- domain would name it: left out.
WITH confirmed AS (FROM episodes WHERE confirmed IS NOT NULL AND host <> ''),
own AS (SELECT domain AS host FROM domains SEMI JOIN confirmed ON domains.domain = confirmed.host)
SELECT unnest(operators) AS operator, * EXCLUDE (operators, domain, stage, evidence, sample)
FROM confirmed ANTI JOIN own USING (host)
ORDER BY operator_kind, operator, host, began, failing_until
