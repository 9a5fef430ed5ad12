-- A sample of the current products that the model cannot have learnt from: of all products, labelled or not, those whose
-- text is in the hold-out. It is surer of what it was trained on, and that would look like drift; and so the sample is one
-- of the whole catalogue. The same seed takes the same products: they are ordered by a digest of their id, not by chance
-- of storage. An answer counts where it is this model's.
SELECT
    state.product_id,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.label END AS label,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.label_path END AS label_path,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.confidence END AS confidence,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.confidence_path END AS confidence_path,
    /*known*/ AS known_path,
    /*fields*/
FROM state
JOIN products ON products.seq = state.seq
LEFT JOIN newest_labels AS said ON said.product_id = state.product_id
WHERE state.seq IN (
    SELECT seq FROM state
    WHERE ('0x' || left(text_hash, 8))::BIGINT < getvariable('holdout_below')
    ORDER BY md5(state.product_id || getvariable('seed')::VARCHAR)
    LIMIT getvariable('most')
)
ORDER BY state.first_seq
