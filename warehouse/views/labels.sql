-- Labels given by people, the latest of each product first.
CREATE VIEW labels AS
SELECT
    catalog,
    product_id,
    array_to_string(label_path, ' > ') AS label,
    label_path,
    labelled_by,
    why,
    labelled_at,
    run_id,
    source_file,
    source_digest,
    predicted_path,
    confidence,
    model_version
FROM tables.labels
ORDER BY catalog, labelled_at DESC;
