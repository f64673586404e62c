-- $1 run: of each zone, the snapshot that the run began with
SELECT DISTINCT ON (s.zone)
    s.zone, s.source AS kind, s.serial, s.sha256, s.taken, s.received, s.size AS bytes,
    s.records, s.delegations, s.signed
FROM zone_snapshot s
JOIN run r ON r.run_id = $1
WHERE s.accepted AND s.taken <= r.started
ORDER BY s.zone, s.snapshot_id DESC
