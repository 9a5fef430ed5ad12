-- What the model getvariable('model_digest') said before of the very forms in `unanswered`: after a rollback, or a change
-- taken back. What is looked up is narrow: answers with their reasons are read once, as they are copied.
-- Nearly always it was said of the same version of the product, which a number finds; the rest is found by its features.
CREATE TEMP TABLE known AS
WITH same AS MATERIALIZED (
    SELECT seq, max(scored_at) AS scored_at
    FROM scores
    SEMI JOIN unanswered USING (seq)
    WHERE model_digest = getvariable('model_digest')
    GROUP BY seq
),
others AS MATERIALIZED (FROM unanswered ANTI JOIN same USING (seq))
SELECT seq, seq AS said_seq, scored_at
FROM same
UNION ALL
SELECT others.seq, said.seq, said.scored_at
FROM others
JOIN (
    SELECT product_id, feature_hash, arg_max(seq, scored_at) AS seq, max(scored_at) AS scored_at
    FROM scores
    SEMI JOIN others USING (product_id, feature_hash)
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
