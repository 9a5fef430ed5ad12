-- The state with answers that were given before in place of present ones, where there are any.
SELECT state.*
FROM state
SEMI JOIN kept ON kept.seq = state.seq
UNION ALL BY NAME
SELECT earlier.*
FROM earlier
SEMI JOIN still ON still.seq = earlier.seq
UNION ALL BY NAME
SELECT * FROM reused
