-- Current products that a snapshot no longer has. One whose row was rejected is in it, and stays as it was stored.
CREATE TABLE vanished AS
SELECT product_id, seq
FROM state
ANTI JOIN winners ON winners.product_id = state.product_id
ANTI JOIN refused ON refused.product_id = state.product_id;
