-- Current products without an answer of the model getvariable('model_digest') in their present form.
CREATE TEMP TABLE unanswered AS
SELECT product_id, seq, first_seq, known_path, text_hash, feature_hash, row_hash
FROM state
WHERE model_digest IS DISTINCT FROM getvariable('model_digest');

CREATE TEMP TABLE reused AS           -- it answered for this very form before: after a rollback, or a change taken back
SELECT unanswered.*, said.label, said.label_path, said.confidence, said.confidence_path, said.runner_up, said.reasons,
       said.model_version, said.model_digest, said.scored_run_id, said.scored_at
FROM unanswered
JOIN (
    SELECT * FROM scores
    WHERE model_digest = getvariable('model_digest')
    QUALIFY row_number() OVER (PARTITION BY product_id, feature_hash ORDER BY scored_at DESC) = 1
) AS said ON said.product_id = unanswered.product_id AND said.feature_hash = unanswered.feature_hash;

CREATE TEMP TABLE todo AS
SELECT unanswered.*
FROM unanswered
ANTI JOIN reused ON reused.product_id = unanswered.product_id;
