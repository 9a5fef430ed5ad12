-- The rows of the new state that were not scored: their answers are known, or stay as they are.
SELECT state.*
FROM state
ANTI JOIN todo ON todo.seq = state.seq
ANTI JOIN reused ON reused.seq = state.seq
UNION ALL BY NAME
SELECT * FROM reused
