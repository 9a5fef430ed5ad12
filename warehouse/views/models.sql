-- One row a model version: what it was trained on, how it did on the hold-out, and what it is now.
CREATE VIEW models AS
WITH last_event AS (
    SELECT catalog, version, event, noted_at, why
    FROM tables.models
    QUALIFY row_number() OVER (PARTITION BY catalog, version ORDER BY noted_at DESC) = 1
),
crowned AS (
    SELECT catalog, version
    FROM tables.models
    WHERE event IN ('promoted', 'rolled_back')
    QUALIFY row_number() OVER (PARTITION BY catalog ORDER BY noted_at DESC) = 1
),
judged AS (
    SELECT
        catalog,
        model_version,
        CASE WHEN bool_and(passed) THEN 'passed all ' || count(*) || ' checks against ' || any_value(champion_version)
            ELSE 'failed ' || count(*) FILTER (NOT passed) || ' of ' || count(*) || ' checks against '
                || any_value(champion_version) || ': '
                || string_agg(title, ', ' ORDER BY place) FILTER (NOT passed)
        END AS said
    FROM tables.gate
    GROUP BY catalog, model_version
)
SELECT
    trained.catalog,
    trained.version AS model_version,
    trained.digest AS model_digest,
    CASE
        WHEN crowned.version IS NOT NULL THEN 'champion'
        WHEN last_event.event IN ('promoted', 'rolled_back') THEN 'former champion'
        WHEN last_event.event = 'trained' THEN 'challenger'
        ELSE last_event.event
    END AS status,
    trained.recipe,
    trained.params,
    trained.rows,
    trained.holdout_rows,
    trained.accuracy,
    trained.macro_f1,
    trained.weighted_f1,
    trained.metrics,
    trained.data_digest,
    trained.train_s,
    trained.noted_at AS trained_at,
    last_event.noted_at AS changed_at,
    last_event.why,
    judged.said AS gate,
    trained.run_id
FROM tables.models AS trained
JOIN last_event ON last_event.catalog = trained.catalog AND last_event.version = trained.version
LEFT JOIN crowned ON crowned.catalog = trained.catalog AND crowned.version = trained.version
LEFT JOIN judged ON judged.catalog = trained.catalog AND judged.model_version = trained.version
WHERE trained.event = 'trained'
ORDER BY trained.catalog, trained.noted_at;
