-- One row a current product, as last stored: its fields and kept columns beside where it came from.
CREATE VIEW products AS
SELECT
    products.* EXCLUDE (known_path, seq, text_hash, feature_hash, row_hash),
    array_to_string(products.known_path, ' > ') AS known_label,
    products.known_path,
    products.feature_hash,
    products.row_hash
FROM tables.products AS products
SEMI JOIN tables.state AS state ON state.catalog = products.catalog AND state.seq = products.seq;
