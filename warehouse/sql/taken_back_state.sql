-- The state with answers that were given before in place of present ones, where there are any.
SELECT state.*
FROM state
ANTI JOIN known ON known.seq = state.seq
UNION ALL BY NAME
SELECT * FROM reused
