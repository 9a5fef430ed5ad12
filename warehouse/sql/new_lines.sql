-- Lines of the rows that won, with the form of a product that each gave, where another or none was remembered.
-- Reads: staged, winners, chosen, state, lines.
CREATE TEMP TABLE new_lines AS
SELECT coalesce(chosen.seq, state.seq) AS seq, staged.line_a, staged.line_b
FROM staged
SEMI JOIN winners ON winners.n = staged.n
LEFT JOIN chosen ON chosen.n = staged.n
LEFT JOIN state ON state.product_id = staged.product_id
ANTI JOIN lines
    ON lines.seq = coalesce(chosen.seq, state.seq)
    AND lines.line_a = staged.line_a
    AND lines.line_b = staged.line_b
WHERE staged.line_a IS NOT NULL;
