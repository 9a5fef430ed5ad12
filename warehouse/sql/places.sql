-- Where the rows of one run ended, as `conservation` has it, but for a run that is still under way.
SELECT
    count(*) FILTER (WHERE state.label IS NOT NULL AND accepted) AS accepted,
    count(*) FILTER (WHERE state.label IS NOT NULL AND NOT accepted) AS review,
    count(*) FILTER (WHERE state.label IS NULL) AS pending,
    count(*) FILTER (WHERE state.label IS NOT NULL AND accepted AND mine) AS own_accepted,
    count(*) FILTER (WHERE state.label IS NOT NULL AND NOT accepted AND mine) AS own_review,
    count(*) FILTER (WHERE state.label IS NULL AND mine) AS own_pending,
    count(*) AS current
FROM (
    SELECT
        state.label,
        said.product_id IS NOT NULL
            OR /*accepted_depth*/ > 0 AS accepted,
        products.run_id = getvariable('run_id') AS mine
    FROM state
    JOIN products ON products.seq = state.seq
    LEFT JOIN policy
        ON policy.model_version = state.model_version
        AND policy.label = state.label
        AND policy.level = len(state.label_path)
    LEFT JOIN (SELECT DISTINCT product_id FROM labels) AS said ON said.product_id = state.product_id
) AS state
