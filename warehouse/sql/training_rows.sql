-- Current products that have a label, without their fields: who reads those, reads them from the files.
SELECT
    state.seq,
    state.first_seq,
    state.product_id,
    coalesce(said.label_path, state.known_path) AS known_path,
    state.text_hash,
    state.feature_hash,
    state.row_hash
FROM state
LEFT JOIN (
    SELECT product_id, label_path FROM labels
    QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY labelled_at DESC) = 1
) AS said ON said.product_id = state.product_id
WHERE coalesce(said.label_path, state.known_path) IS NOT NULL
