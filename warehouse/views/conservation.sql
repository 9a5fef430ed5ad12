-- For every ingest run: each row that was read is in exactly one place. Stored rows are counted from the stored rows
-- themselves, by the latest answer for that version of the product; rejected ones from the rejects.
CREATE VIEW conservation AS
WITH latest AS (
    SELECT catalog, product_id, feature_hash, label, confidence, model_version
    FROM tables.scores
    QUALIFY row_number() OVER (PARTITION BY catalog, product_id, feature_hash ORDER BY scored_at DESC) = 1
),
person AS (
    SELECT DISTINCT catalog, product_id FROM tables.labels
),
placed AS (
    SELECT
        products.catalog,
        products.run_id,
        CASE
            WHEN latest.product_id IS NULL THEN 'pending'
            WHEN person.product_id IS NOT NULL THEN 'accepted'
            WHEN policy.review_all THEN 'review'
            WHEN latest.confidence >= policy.threshold THEN 'accepted'
            ELSE 'review'
        END AS place
    FROM tables.products AS products
    LEFT JOIN latest
        ON latest.catalog = products.catalog
        AND latest.product_id = products.product_id
        AND latest.feature_hash = products.feature_hash
    LEFT JOIN tables.policy AS policy
        ON policy.catalog = latest.catalog
        AND policy.model_version = latest.model_version
        AND policy.label = latest.label
    LEFT JOIN person ON person.catalog = products.catalog AND person.product_id = products.product_id
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
