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

CREATE TEMP TABLE won AS         -- of hashes 128 bits: a join holds them for all rows
SELECT n, product_id, md5_number(row_hash) AS row_key, md5_number(feature_hash) AS feature_key
FROM staged
SEMI JOIN winners USING (n);

CREATE TABLE chosen AS           -- new, or different from what is stored
SELECT
    won.n,
    won.product_id,
    getvariable('first_seq') + row_number() OVER (ORDER BY won.n) - 1 AS seq,
    state.first_seq AS old_first_seq,
    state.feature_key = won.feature_key AS same_features
FROM won
LEFT JOIN (
    SELECT product_id, first_seq, md5_number(row_hash) AS row_key, md5_number(feature_hash) AS feature_key
    FROM state
) AS state ON state.product_id = won.product_id
WHERE state.row_key IS DISTINCT FROM won.row_key;

DROP TABLE won;
