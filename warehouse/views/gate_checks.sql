-- One row a check of a challenger against the champion, both on hold-out rows that neither has seen.
CREATE VIEW gate_checks AS
SELECT
    catalog,
    model_version,
    champion_version,
    name,
    label,
    title,
    rows,
    challenger,
    champion,
    difference,
    low,
    threshold,
    passed,
    said,
    seed,
    judged_at,
    run_id
FROM tables.gate
ORDER BY catalog, judged_at, place;
