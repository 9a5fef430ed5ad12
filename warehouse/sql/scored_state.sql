-- The state with new answers in place of old ones.
SELECT state.*
FROM state
ANTI JOIN scored ON scored.seq = state.seq
ANTI JOIN reused ON reused.seq = state.seq
UNION ALL BY NAME
SELECT * FROM scored
UNION ALL BY NAME
SELECT * FROM reused
