-- A sample of the products that came in after getvariable('since'), and one of those that the thirty runs before brought in.
-- What the model was trained on is left out on both sides: it is surer of it, and knows its words. An answer counts where it
-- is this model's.
WITH arrived AS (
    SELECT state.seq, state.product_id, products.run_id, products.stored_at > getvariable('since') AS current
    FROM state
    JOIN products ON products.seq = state.seq
    LEFT JOIN first_labelled ON first_labelled.text_hash = state.text_hash
    WHERE /*unseen*/
),
recent AS (
    SELECT run_id FROM arrived WHERE NOT current GROUP BY run_id ORDER BY run_id DESC LIMIT 30
),
chosen AS (
    FROM (
        SELECT seq, current FROM arrived WHERE current
        ORDER BY md5(product_id || getvariable('seed')::VARCHAR) LIMIT getvariable('most')
    )
    UNION ALL
    FROM (
        SELECT seq, current FROM arrived WHERE NOT current AND run_id IN (FROM recent)
        ORDER BY md5(product_id || getvariable('seed')::VARCHAR) LIMIT getvariable('most')
    )
)
SELECT
    state.product_id,
    chosen.current,
    /*known*/ AS known_path,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.label END AS label,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.label_path END AS label_path,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.confidence END AS confidence,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.confidence_path END AS confidence_path,
    /*fields*/
FROM chosen
JOIN state ON state.seq = chosen.seq
JOIN products ON products.seq = chosen.seq
LEFT JOIN newest_labels AS said ON said.product_id = state.product_id
ORDER BY chosen.seq
