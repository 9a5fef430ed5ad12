-- How often the model was right on products whose label it had not learnt, and how often its confidences say it would be.
SELECT
    count(*) AS rows,
    count(*) FILTER (WHERE state.label_path = known.label_path) AS "right",
    avg(state.confidence) AS expected
FROM state
JOIN (
    SELECT
        state.seq,
        coalesce(said.label_path, state.known_path) AS label_path,
        CASE WHEN said.label_path IS NULL THEN products.stored_at ELSE said.labelled_at END AS known_since
    FROM state
    JOIN products ON products.seq = state.seq
    LEFT JOIN newest_labels AS said ON said.product_id = state.product_id
) AS known ON known.seq = state.seq
WHERE known.label_path IS NOT NULL
    AND state.model_digest = getvariable('model_digest')
    AND (
        known.known_since > getvariable('trained_at')
        OR ('0x' || left(state.text_hash, 8))::BIGINT < getvariable('holdout_below')
    )
