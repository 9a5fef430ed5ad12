-- From which confidence on each label of each model, and each node above labels that are paths, is accepted unseen; a null
-- threshold: never. While everything goes to review, the reason says so first, as `warehouse.policy.published_policy` does.
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
    CASE WHEN review_all THEN concat_ws('; by threshold: ', 'everything goes to review', reason) ELSE reason END AS reason,
    review_all,
    path_thresholds,
    set_at,
    run_id
FROM tables.policy;
