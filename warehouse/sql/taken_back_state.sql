-- The state with answers that were given before in place of present ones, where there are any: whole rows of an earlier
-- state, and answers that were looked up.
SELECT state.*
FROM state
SEMI JOIN kept ON kept.seq = state.seq
UNION ALL BY NAME
SELECT earlier.*
FROM earlier
SEMI JOIN still ON still.seq = earlier.seq
UNION ALL BY NAME
SELECT * FROM reused
