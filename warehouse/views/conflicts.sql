-- Rows that lost to a later row of the same id in the same source, and said something else.
CREATE VIEW conflicts AS
SELECT
    catalog,
    product_id,
    source,
    line,
    kept_source,
    kept_line,
    array_to_string(known_path, ' > ') AS known_label,
    array_to_string(kept_path, ' > ') AS kept_label,
    differs,
    row,
    run_id
FROM tables.conflicts;
