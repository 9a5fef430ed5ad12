-- What the model getvariable('model_digest') said before of the very forms in `unanswered`: after a rollback, or a change
-- taken back. What is looked up is narrow: answers with their reasons are read once, as they are copied.
CREATE TEMP TABLE known AS
SELECT unanswered.seq, said.seq AS said_seq, said.scored_at
FROM unanswered
JOIN (
    SELECT product_id, feature_hash, arg_max(seq, scored_at) AS seq, max(scored_at) AS scored_at
    FROM scores
    SEMI JOIN unanswered USING (product_id, feature_hash)
    WHERE model_digest = getvariable('model_digest')
    GROUP BY product_id, feature_hash
) AS said USING (product_id, feature_hash);

CREATE TEMP VIEW reused AS            -- only what is current: an answer in the history needs no other
SELECT state.product_id, state.seq, state.first_seq, state.known_path, state.text_hash, state.feature_hash, state.row_hash,
       said.label, said.label_path, said.confidence, said.confidence_path, said.runner_up, said.reasons,
       said.model_version, said.model_digest, said.scored_run_id, said.scored_at
FROM scores AS said
JOIN known ON known.said_seq = said.seq AND known.scored_at = said.scored_at
JOIN state ON state.seq = known.seq
WHERE said.model_digest = getvariable('model_digest');
