-- Why each record of a probe does not match, '' where it does or nothing is known: an unusable
-- record has the cause that its data hints at too. What was stored before knew causes as
-- results only.
ALTER TABLE smtp_probe ADD COLUMN record_cause text[] NOT NULL DEFAULT '{}';
ALTER TABLE smtp_probe ALTER COLUMN record_cause DROP DEFAULT;
UPDATE smtp_probe SET record_cause = ARRAY(
    SELECT CASE WHEN result IN ('wrong_usage', 'wrong_selector', 'wrong_matching_type',
            'stale_certificate', 'ta_not_sent', 'chain_invalid', 'empty_digest', 'unknown')
        THEN result ELSE '' END
    FROM unnest(record_result) WITH ORDINALITY AS one (result, place)
    ORDER BY place);
