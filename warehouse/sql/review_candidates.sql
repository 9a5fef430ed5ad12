-- Products in review that no person has labelled, one of each text, the least sure first: getvariable('most') of those of
-- getvariable('catalog'). Where a label of the text is known already, the source's or a person's, another would teach
-- little: these come last.
WITH labelled_texts AS (
    SELECT DISTINCT text_hash
    FROM tables.state
    WHERE catalog = getvariable('catalog')
        AND product_id IN (SELECT product_id FROM tables.labels WHERE catalog = getvariable('catalog'))
),
waiting AS (
    SELECT
        predictions.product_id,
        predictions.confidence,
        state.text_hash,
        predictions.known_label IS NOT NULL OR labelled_texts.text_hash IS NOT NULL AS taught
    FROM predictions
    JOIN tables.state AS state ON state.catalog = predictions.catalog AND state.product_id = predictions.product_id
    LEFT JOIN labelled_texts ON labelled_texts.text_hash = state.text_hash
    WHERE predictions.catalog = getvariable('catalog')
        AND predictions.decision = 'review'
        AND predictions.decided_by = 'model'
)
SELECT product_id, confidence, taught
FROM waiting
QUALIFY row_number() OVER (PARTITION BY text_hash ORDER BY taught, confidence, product_id) = 1
ORDER BY taught, confidence, product_id
LIMIT getvariable('most')
