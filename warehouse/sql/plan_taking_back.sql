-- What the model getvariable('model_digest') said before of current products that have another's answer now, or none.
-- A row of the `earlier` state stands for the version of the product that its number names, and is whole: it is copied.
CREATE TEMP TABLE still AS
SELECT seq
FROM earlier
SEMI JOIN (SELECT seq FROM state WHERE model_digest IS DISTINCT FROM getvariable('model_digest')) AS now USING (seq)
WHERE model_digest = getvariable('model_digest');

-- The rest is looked up among all that was ever said.
CREATE TEMP VIEW unanswered AS
SELECT seq, product_id, feature_hash
FROM state
ANTI JOIN still USING (seq)
WHERE model_digest IS DISTINCT FROM getvariable('model_digest');

/*known_answers*/

-- As a table, and joined from the side that is mostly small: only the row groups that have such rows are read.
CREATE TEMP TABLE kept AS
SELECT seq
FROM state
ANTI JOIN still USING (seq)
ANTI JOIN known USING (seq);
