-- MX hosts by what they promise and show, without names. TLS and certificate are those of
-- the last session with a certificate: the host's own, else one of the same operator with the
-- same TLSA RRset (names at one address are sampled).
WITH session AS (
    SELECT host, operator, tlsa_digest, connected,
        struct_pack(tls_version, tls_group, key_type, leaf := chain[1]) AS shown
    FROM probes WHERE len(chain) > 0
),
own AS (SELECT host, arg_max(shown, connected) AS shown FROM session GROUP BY host),
shared AS (
    SELECT operator, tlsa_digest, arg_max(shown, connected) AS shown
    FROM session GROUP BY operator, tlsa_digest
),
described AS (
    SELECT h.host, h.class, h.scheme, h.domains,
        CASE WHEN h.tlsa_digest IS NOT NULL THEN array_to_string(list_sort(list_distinct(
            list_transform(h.tlsa, lambda record: array_to_string(string_split(record, ' ')[1:3], ' '))
        )), ' + ') END AS parameters,
        coalesce(own.shown, shared.shown) AS shown
    FROM settled_hosts h
    LEFT JOIN own USING (host)
    LEFT JOIN shared ON shared.operator = h.operator AND shared.tlsa_digest = h.tlsa_digest
),
issued AS (
    SELECT d.*, CASE WHEN c.self_issued THEN '(self-issued)' ELSE c.issuer END AS issuer
    FROM described d LEFT JOIN certificates c ON c.sha256 = d.shown.leaf
),
issuing AS (
    SELECT issuer, sum(domains) AS domains FROM issued GROUP BY issuer
)
SELECT i.class, i.scheme, i.parameters, i.shown.tls_version AS tls_version,
    i.shown.tls_group AS tls_group, i.shown.key_type AS key_type,
    CASE WHEN names_nobody(i.issuer) OR issuing.domains >= public_floor() THEN i.issuer
        ELSE few() END AS issuer,
    count(*) AS hosts
FROM issued i LEFT JOIN issuing ON issuing.issuer = i.issuer
GROUP BY ALL
ORDER BY ALL
