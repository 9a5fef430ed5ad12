-- Every prediction ever made, with its model and time.
CREATE VIEW predictions_history AS
SELECT
    catalog,
    product_id,
    label,
    label_path,
    confidence,
    confidence_path,
    runner_up,
    reasons,
    model_version,
    model_digest,
    scored_run_id AS run_id,
    scored_at,
    feature_hash
FROM tables.scores;
