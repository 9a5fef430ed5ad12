-- How many levels of a label path are accepted: down to the deepest whose threshold holds, 0 for none. An expression over
-- `state` and `policy`, which views and statements put in place of /*accepted_depth*/.
CASE
    WHEN policy.review_all THEN 0
    WHEN len(state.confidence_path) > 1 THEN coalesce(list_max([
        CASE WHEN state.confidence_path[level] >= policy.path_thresholds[level] THEN level ELSE 0 END
        FOR level IN range(1, len(state.confidence_path) + 1)
    ]), 0)
    WHEN state.confidence >= policy.threshold THEN len(state.label_path)
    ELSE 0
END
