-- From which confidence on each label of each model, and each node above labels that are paths, is accepted unseen; a null
-- threshold: never.
CREATE VIEW policy AS
SELECT
    catalog,
    model_version,
    label,
    level,
    threshold,
    precision_target,
    support,
    precision,
    coverage,
    reason,
    review_all,
    path_thresholds,
    set_at,
    run_id
FROM tables.policy;
