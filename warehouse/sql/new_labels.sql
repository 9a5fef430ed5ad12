-- Labelled products that a training would learn from and that none has learnt from: stored or labelled since the last one.
SELECT count(*)
FROM state
JOIN products ON products.seq = state.seq
LEFT JOIN newest_labels AS said ON said.product_id = state.product_id
WHERE coalesce(said.label_path, state.known_path) IS NOT NULL
    AND greatest(products.stored_at, coalesce(said.labelled_at, products.stored_at)) > getvariable('since')
    AND ('0x' || left(state.text_hash, 8))::BIGINT >= getvariable('holdout_below')
