-- What may be named. `names` has what enough domains depended on in the last full run.
CREATE TEMP TABLE open_domain AS
SELECT domain FROM domains SEMI JOIN open_zone USING (zone);

CREATE TEMP TABLE public_name AS
SELECT DISTINCT name FROM (
    SELECT name FROM names WHERE kind <> 'zone' AND domains >= public_floor()
    UNION ALL SELECT domain FROM open_domain
);

-- The hosts of an open zone's domain are the domain's own names.
CREATE TEMP TABLE public_host AS
SELECT host, class
FROM settled_hosts
WHERE NOT unsettled AND (
    host IN (SELECT name FROM names WHERE kind = 'mx_host' AND domains >= public_floor())
    OR host IN (FROM open_domain)
    OR (operator IN (FROM open_domain) AND ends_with(host, '.' || operator))
);
