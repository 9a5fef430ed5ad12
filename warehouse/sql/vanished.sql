-- Current products that a snapshot no longer has.
CREATE TABLE vanished AS
SELECT product_id, seq
FROM state
ANTI JOIN winners ON winners.product_id = state.product_id;
