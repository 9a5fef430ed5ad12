-- How often the model was right on products whose label it had not learnt, and how often its confidences say it would be.
SELECT
    count(*) AS rows,
    count(*) FILTER (WHERE state.label_path = coalesce(said.label_path, state.known_path)) AS "right",
    avg(state.confidence) AS expected
FROM state
LEFT JOIN newest_labels AS said ON said.product_id = state.product_id
LEFT JOIN first_labelled ON first_labelled.text_hash = state.text_hash
WHERE coalesce(said.label_path, state.known_path) IS NOT NULL
    AND state.model_digest = getvariable('model_digest')
    AND /*unseen*/
