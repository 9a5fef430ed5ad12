-- Which of the staged rows are to be stored. Narrow on purpose: ids, hashes and order only.
-- Reads: staged (product_id, n, row_hash, feature_hash, ...), met, state. Needs the variable first_seq.

CREATE VIEW told AS              -- every row; of a line that was known, the product is the current one
SELECT product_id, n, row_hash
FROM staged
UNION ALL
SELECT met.product_id, met.n, state.row_hash
FROM met
JOIN state ON state.seq = met.seq;

CREATE TABLE winners AS          -- the last row of each id wins
SELECT product_id, max(n) AS n
FROM (SELECT product_id, n FROM staged UNION ALL SELECT product_id, n FROM met)
GROUP BY product_id;

CREATE TABLE chosen AS           -- new, or different from what is stored
SELECT
    staged.n,
    staged.product_id,
    getvariable('first_seq') + row_number() OVER (ORDER BY staged.n) - 1 AS seq,
    state.first_seq AS old_first_seq,
    state.feature_hash = staged.feature_hash AS same_features
FROM staged
SEMI JOIN winners ON staged.n = winners.n
LEFT JOIN state ON state.product_id = staged.product_id
WHERE state.row_hash IS DISTINCT FROM staged.row_hash;
