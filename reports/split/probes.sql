-- A session that failed at a host that is not broken is no confirmed breakage.
SELECT probes.*
FROM probes JOIN public_host USING (host)
WHERE public_host.class = 'F'
    OR probes.status NOT IN ('mismatch', 'ta_expired', 'name_mismatch', 'no_starttls',
                             'starttls_rejected', 'tls_failed')
