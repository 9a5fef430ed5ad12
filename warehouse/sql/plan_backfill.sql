-- What was stored from getvariable('since') to getvariable('until') and has no answer of the model
-- getvariable('model_digest'): the last version of each form of a product, current or not.
CREATE TEMP TABLE unanswered AS
SELECT max(seq) AS seq, product_id, feature_hash
FROM products
WHERE stored_at BETWEEN getvariable('since') AND getvariable('until')
GROUP BY product_id, feature_hash;

/*known_answers*/

CREATE TEMP VIEW todo AS
SELECT
    products.product_id,
    products.seq,
    coalesce(state.first_seq, products.seq) AS first_seq,
    products.known_path,
    products.text_hash,
    products.feature_hash,
    products.row_hash
FROM products
LEFT JOIN state ON state.seq = products.seq
WHERE products.seq IN (SELECT seq FROM unanswered) AND products.seq NOT IN (SELECT seq FROM known);
