-- One row a product that has an answer: the current one. Decided here, by the current policy, so a changed policy acts at once.
CREATE VIEW predictions AS
WITH decided AS (
    SELECT
        state.*,
        said.label_path AS said_path,
        CASE WHEN said.product_id IS NULL THEN /*accepted_depth*/ ELSE len(said.label_path) END AS depth
    FROM tables.state AS state
    LEFT JOIN tables.policy AS policy
        ON policy.catalog = state.catalog
        AND policy.model_version = state.model_version
        AND policy.label = state.label
        AND policy.level = len(state.label_path)
    LEFT JOIN (
        SELECT catalog, product_id, label_path
        FROM tables.labels
        QUALIFY row_number() OVER (PARTITION BY catalog, product_id ORDER BY labelled_at DESC) = 1
    ) AS said
        ON said.catalog = state.catalog AND said.product_id = state.product_id
    WHERE state.label IS NOT NULL
)
SELECT
    catalog,
    product_id,
    CASE
        WHEN said_path IS NOT NULL THEN array_to_string(said_path, ' > ')
        WHEN depth BETWEEN 1 AND len(label_path) - 1 THEN array_to_string(label_path[:depth], ' > ')
        ELSE label
    END AS label,
    CASE
        WHEN said_path IS NOT NULL THEN said_path
        WHEN depth BETWEEN 1 AND len(label_path) - 1 THEN label_path[:depth]
        ELSE label_path
    END AS label_path,
    array_to_string(known_path, ' > ') AS known_label,
    CASE
        WHEN said_path IS NULL AND depth BETWEEN 1 AND len(label_path) - 1 THEN confidence_path[depth]
        ELSE confidence
    END AS confidence,
    CASE WHEN depth > 0 THEN 'accepted' ELSE 'review' END AS decision,
    CASE WHEN said_path IS NULL THEN 'model' ELSE 'person' END AS decided_by,
    depth,
    label_path AS predicted_path,
    confidence_path,
    runner_up,
    reasons,
    model_version,
    model_digest,
    scored_run_id AS run_id,
    scored_at
FROM decided;
