-- Products as they came in, newest first: those that came after getvariable('since'), and as many that came before. What
-- the model was trained on is left out: it is surer of it, and knows its words. An answer counts where it is this model's.
SELECT
    arrived.product_id,
    arrived.current,
    arrived.known_path,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.label END AS label,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.label_path END AS label_path,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.confidence END AS confidence,
    CASE WHEN state.model_digest = getvariable('model_digest') THEN state.confidence_path END AS confidence_path,
    /*fields*/
FROM (
    SELECT
        state.product_id,
        state.seq,
        coalesce(said.label_path, state.known_path) AS known_path,
        products.stored_at > getvariable('since') AS current,
        row_number() OVER (
            PARTITION BY products.stored_at > getvariable('since')
            ORDER BY products.run_id DESC, md5(state.product_id || getvariable('seed')::VARCHAR)
        ) AS place
    FROM state
    JOIN products ON products.seq = state.seq
    LEFT JOIN newest_labels AS said ON said.product_id = state.product_id
    WHERE products.stored_at > getvariable('trained_at')
        OR coalesce(said.label_path, state.known_path) IS NULL
        OR ('0x' || left(state.text_hash, 8))::BIGINT < getvariable('holdout_below')
) AS arrived
JOIN state ON state.seq = arrived.seq
JOIN products ON products.seq = arrived.seq
WHERE arrived.place <= getvariable('most')
ORDER BY arrived.seq
