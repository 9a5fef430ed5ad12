-- For every ingest run: each row that was read is in exactly one place. Stored rows are counted from the stored rows
-- themselves: a current version by its current answer, an earlier one by the last answer it got; rejected ones from the
-- rejects.
CREATE VIEW conservation AS
WITH last_said AS (
    SELECT catalog, product_id, feature_hash, label, label_path, confidence, confidence_path, model_version
    FROM tables.scores
    QUALIFY row_number() OVER (PARTITION BY catalog, product_id, feature_hash ORDER BY scored_at DESC) = 1
),
answers AS (
    SELECT
        products.catalog,
        products.run_id,
        products.product_id,
        CASE WHEN state.seq IS NULL THEN last_said.label ELSE state.label END AS label,
        CASE WHEN state.seq IS NULL THEN last_said.label_path ELSE state.label_path END AS label_path,
        CASE WHEN state.seq IS NULL THEN last_said.confidence ELSE state.confidence END AS confidence,
        CASE WHEN state.seq IS NULL THEN last_said.confidence_path ELSE state.confidence_path END AS confidence_path,
        CASE WHEN state.seq IS NULL THEN last_said.model_version ELSE state.model_version END AS model_version
    FROM tables.products AS products
    LEFT JOIN tables.state AS state ON state.catalog = products.catalog AND state.seq = products.seq
    LEFT JOIN last_said
        ON last_said.catalog = products.catalog
        AND last_said.product_id = products.product_id
        AND last_said.feature_hash = products.feature_hash
),
person AS (
    SELECT DISTINCT catalog, product_id FROM tables.labels
),
placed AS (
    SELECT
        state.catalog,
        state.run_id,
        CASE
            WHEN state.label IS NULL THEN 'pending'
            WHEN person.product_id IS NOT NULL THEN 'accepted'
            WHEN /*accepted_depth*/ > 0 THEN 'accepted'
            ELSE 'review'
        END AS place
    FROM answers AS state
    LEFT JOIN tables.policy AS policy
        ON policy.catalog = state.catalog
        AND policy.model_version = state.model_version
        AND policy.label = state.label
        AND policy.level = len(state.label_path)
    LEFT JOIN person ON person.catalog = state.catalog AND person.product_id = state.product_id
),
stored AS (
    SELECT
        catalog,
        run_id,
        count(*) FILTER (place = 'accepted') AS accepted,
        count(*) FILTER (place = 'review') AS review,
        count(*) FILTER (place = 'pending') AS pending
    FROM placed
    GROUP BY ALL
),
rejected AS (
    SELECT catalog, run_id, count(*) AS rejected FROM tables.rejects GROUP BY ALL
),
ingests AS (
    SELECT catalog, run_id, read, repeated, unchanged, finished_at
    FROM tables.runs
    WHERE read IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY catalog, run_id ORDER BY finished_at DESC) = 1
)
SELECT
    ingests.catalog,
    ingests.run_id,
    ingests.read,
    coalesce(stored.accepted, 0) AS accepted,
    coalesce(stored.review, 0) AS review,
    coalesce(stored.pending, 0) AS pending,
    coalesce(rejected.rejected, 0) AS rejected,
    ingests.repeated,
    ingests.unchanged,
    ingests.read = coalesce(stored.accepted, 0) + coalesce(stored.review, 0) + coalesce(stored.pending, 0)
        + coalesce(rejected.rejected, 0) + ingests.repeated + ingests.unchanged AS balanced
FROM ingests
LEFT JOIN stored ON stored.catalog = ingests.catalog AND stored.run_id = ingests.run_id
LEFT JOIN rejected ON rejected.catalog = ingests.catalog AND rejected.run_id = ingests.run_id
ORDER BY ingests.catalog, ingests.finished_at;
