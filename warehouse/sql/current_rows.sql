-- A sample of the current products that the model has not learnt from: those without a label, and the hold-out. It is surer
-- of what it was trained on, and that would look like drift. The same seed takes the same products: they are ordered by a
-- digest of their id, not by chance of storage.
SELECT
    state.product_id,
    state.label,
    state.label_path,
    state.confidence,
    state.confidence_path,
    state.known_path,
    state.model_version,
    /*fields*/
FROM state
JOIN products ON products.seq = state.seq
WHERE state.seq IN (
    SELECT seq FROM state
    WHERE label IS NOT NULL
        AND (known_path IS NULL OR ('0x' || left(text_hash, 8))::BIGINT < getvariable('holdout_below'))
    ORDER BY md5(state.product_id || getvariable('seed')::VARCHAR)
    LIMIT getvariable('most')
)
ORDER BY state.first_seq
