-- When the next target that attempt $2 - 1 did not settle was connected to, later than $4.
-- $1 run, $3 as in targets_again.sql. Index: smtp_probe_again (attempt, connected).
SELECT min(connected)
FROM smtp_probe
WHERE run_id = $1 AND attempt = $2 - 1 AND status = ANY ($3::text[]) AND connected > $4
