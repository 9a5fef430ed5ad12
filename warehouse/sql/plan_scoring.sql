-- Current products without an answer of the model getvariable('model_digest') in their present form.
CREATE TEMP VIEW unanswered AS
SELECT seq, product_id, feature_hash
FROM state
WHERE model_digest IS DISTINCT FROM getvariable('model_digest');

/*known_answers*/

CREATE TEMP VIEW todo AS               -- wide: nothing is to hold it but the file that it is written to
SELECT product_id, seq, first_seq, known_path, text_hash, feature_hash, row_hash
FROM state
SEMI JOIN unanswered USING (seq)
ANTI JOIN known USING (seq);
