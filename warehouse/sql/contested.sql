-- The rows that lost to a later row of the same id and say something else, by their order.
CREATE TEMP TABLE contested AS
SELECT lost.n AS lost, kept.n AS kept
FROM told AS lost
ANTI JOIN winners AS won ON won.n = lost.n
JOIN winners ON winners.product_id = lost.product_id
JOIN told AS kept ON kept.n = winners.n
WHERE kept.row_hash <> lost.row_hash;
