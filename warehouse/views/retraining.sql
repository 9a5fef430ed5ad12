-- Whether a new model was wanted, and why: one row a rule of the catalogue's policy and monitoring.
CREATE VIEW retraining AS
SELECT
    catalog,
    run_id,
    decided_at,
    model_version,
    rule,
    "value",
    "limit",
    met,
    why,
    wanted
FROM tables.retraining
ORDER BY catalog, decided_at;
