-- From which confidence on each label of each model is accepted unseen; a null threshold: never.
CREATE VIEW policy AS
SELECT
    catalog,
    model_version,
    label,
    threshold,
    precision_target,
    support,
    precision,
    coverage,
    reason,
    review_all,
    set_at,
    run_id
FROM tables.policy;
