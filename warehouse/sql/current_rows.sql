-- The same seed takes the same products: they are ordered by a digest of their id, not by chance of storage.
SELECT
    state.product_id,
    state.label,
    state.confidence,
    state.known_path,
    state.model_version,
    /*fields*/
FROM state
JOIN products ON products.seq = state.seq
WHERE state.seq IN (
    SELECT seq FROM state
    WHERE label IS NOT NULL
    ORDER BY md5(state.product_id || getvariable('seed')::VARCHAR)
    LIMIT getvariable('most')
)
ORDER BY state.first_seq
