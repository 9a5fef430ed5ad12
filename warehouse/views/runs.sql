-- One row a finished run, and what it did.
CREATE VIEW runs AS
SELECT
    catalog,
    run_id,
    flow,
    started_at,
    finished_at,
    source,
    read,
    stored,
    unchanged,
    repeated,
    rejected,
    removed,
    scored,
    model_version,
    source_digest
FROM tables.runs
QUALIFY row_number() OVER (PARTITION BY catalog, run_id ORDER BY finished_at DESC) = 1
ORDER BY catalog, started_at;
