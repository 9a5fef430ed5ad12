-- Current predictions that a person should look at, the least confident first.
CREATE VIEW review_queue AS
SELECT catalog, product_id, label, label_path, known_label, confidence, confidence_path, runner_up, reasons, model_version, scored_at
FROM predictions
WHERE decision = 'review'
ORDER BY catalog, confidence;
