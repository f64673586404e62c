-- $1 run: the certificates that its probes were shown
SELECT sha256, der, first_run
FROM certificate
WHERE sha256 IN (SELECT unnest(chain || other_chain) FROM smtp_probe WHERE run_id = $1)
