-- Since when a text has had a label, from a source or a person: whatever is stored again under another id, or with another
-- price tag, is not new to a model that was trained after that.
SELECT text_hash, min(since) AS since
FROM (
    SELECT text_hash, stored_at AS since FROM products WHERE known_path IS NOT NULL
    UNION ALL
    SELECT state.text_hash, labels.labelled_at AS since FROM labels JOIN state ON state.product_id = labels.product_id
)
GROUP BY text_hash
