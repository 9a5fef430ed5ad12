-- Labelled products that a training would learn from and that none has learnt from: their text had no label when the last
-- one began, or a person has said something since.
SELECT count(*)
FROM state
LEFT JOIN newest_labels AS said ON said.product_id = state.product_id
LEFT JOIN first_labelled ON first_labelled.text_hash = state.text_hash
WHERE coalesce(said.label_path, state.known_path) IS NOT NULL
    AND greatest(first_labelled.since, said.labelled_at) > getvariable('since')
    AND ('0x' || left(state.text_hash, 8))::BIGINT >= getvariable('holdout_below')
