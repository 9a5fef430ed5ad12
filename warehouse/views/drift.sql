-- Every drift score: what was compared with what, by which method, against which threshold.
CREATE VIEW drift AS
SELECT
    catalog,
    run_id,
    measured_at,
    comparison,
    metric,
    field,
    method,
    score,
    threshold,
    drifted,
    n_reference,
    n_current,
    seed,
    model_version
FROM tables.drift;
