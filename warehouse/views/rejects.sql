-- Rows that are no usable product, with every reason, as they stood in the source.
CREATE VIEW rejects AS
SELECT catalog, source, line, raw, reasons, run_id, rejected_at
FROM tables.rejects;
