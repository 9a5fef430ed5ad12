-- One row a trial of a search: which parameters were tried on which rows, and what they were worth. No trial is a model.
CREATE VIEW trials AS
SELECT
    catalog,
    run_id,
    trial,
    rank() OVER (PARTITION BY catalog, run_id ORDER BY accuracy DESC, trial) AS rank,
    recipe,
    params,
    tried,
    rows,
    folds,
    len(by_fold) AS folds_scored,
    seed,
    accuracy,
    macro_f1,
    weighted_f1,
    by_fold,
    data_digest,
    fit_s,
    tried_at
FROM tables.trials
ORDER BY catalog, run_id, rank;
