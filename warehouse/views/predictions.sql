-- One row a product that has an answer: the current one. Decided here, by the current policy, so a changed policy acts at once.
CREATE VIEW predictions AS
SELECT
    state.catalog,
    state.product_id,
    coalesce(array_to_string(said.label_path, ' > '), state.label) AS label,
    coalesce(said.label_path, state.label_path) AS label_path,
    array_to_string(state.known_path, ' > ') AS known_label,
    state.confidence,
    CASE
        WHEN said.product_id IS NOT NULL THEN 'accepted'
        WHEN policy.review_all THEN 'review'
        WHEN state.confidence >= policy.threshold THEN 'accepted'
        ELSE 'review'
    END AS decision,
    CASE WHEN said.product_id IS NOT NULL THEN 'person' ELSE 'model' END AS decided_by,
    state.runner_up,
    state.reasons,
    state.model_version,
    state.model_digest,
    state.scored_run_id AS run_id,
    state.scored_at
FROM tables.state AS state
LEFT JOIN tables.policy AS policy
    ON policy.catalog = state.catalog
    AND policy.model_version = state.model_version
    AND policy.label = state.label
LEFT JOIN (
    SELECT catalog, product_id, label_path
    FROM tables.labels
    QUALIFY row_number() OVER (PARTITION BY catalog, product_id ORDER BY labelled_at DESC) = 1
) AS said
    ON said.catalog = state.catalog AND said.product_id = state.product_id
WHERE state.label IS NOT NULL;
