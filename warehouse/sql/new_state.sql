-- The state after this ingest. What a model said stays where what it reads did not change.
SELECT state.*
FROM state
ANTI JOIN chosen ON chosen.product_id = state.product_id
ANTI JOIN vanished ON vanished.product_id = state.product_id
UNION ALL BY NAME
SELECT
    chosen.product_id,
    chosen.seq,
    coalesce(chosen.old_first_seq, chosen.seq) AS first_seq,
    staged.known_path,
    staged.text_hash,
    staged.feature_hash,
    staged.row_hash,
    CASE WHEN chosen.same_features THEN state.label END AS label,
    CASE WHEN chosen.same_features THEN state.label_path END AS label_path,
    CASE WHEN chosen.same_features THEN state.confidence END AS confidence,
    CASE WHEN chosen.same_features THEN state.confidence_path END AS confidence_path,
    CASE WHEN chosen.same_features THEN state.runner_up END AS runner_up,
    CASE WHEN chosen.same_features THEN state.reasons END AS reasons,
    CASE WHEN chosen.same_features THEN state.model_version END AS model_version,
    CASE WHEN chosen.same_features THEN state.model_digest END AS model_digest,
    CASE WHEN chosen.same_features THEN state.scored_run_id END AS scored_run_id,
    CASE WHEN chosen.same_features THEN state.scored_at END AS scored_at
FROM chosen
JOIN staged ON staged.n = chosen.n
LEFT JOIN state ON state.product_id = chosen.product_id
