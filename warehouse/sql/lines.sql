-- What is remembered from now on: one line for each form of a product, the newest, while the form is current.
SELECT lines.*
FROM lines
SEMI JOIN state USING (seq)
ANTI JOIN new_lines USING (seq)
UNION ALL BY NAME
SELECT * FROM new_lines
