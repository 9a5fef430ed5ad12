"""Step: keep what a search found."""

from __future__ import annotations

from core.orchestration import artifact_table, step
from tasks import tracking
from tasks.plan_search import Search
from tasks.try_recipe import Tried, forget_features
from warehouse.runs import joined
from warehouse.trials import TrialRecord, record


@step("record trials")
def record_trials(run_id: str, search: Search, tried: list[Tried]) -> list[TrialRecord]:
    """Write every trial down; the best first, and of equals the one that comes first in the grid."""
    run = joined(run_id)
    forget_features()
    ranked = sorted(tried, key=lambda one: (-one.scored.accuracy, one.trial.number))
    found = [_recorded(search, one) for one in ranked]
    record(run, found)
    artifact_table(
        f"tune-{run.catalog}",
        [{**trial.tried, "accuracy": trial.accuracy, "macro_f1": trial.macro_f1} for trial in found],
        f"Trials of {search.recipe}, the best first",
    )
    tracking.track(run.catalog, [tracking.of_trial(run, trial) for trial in found])
    return found


def _recorded(search: Search, one: Tried) -> TrialRecord:
    scored = one.scored
    return TrialRecord(
        trial=one.trial.number,
        recipe=search.recipe,
        params=one.trial.recipe.settings,
        tried=one.trial.tried,
        data_digest=search.data_digest,
        rows=scored.rows,
        folds=search.folds,
        seed=one.trial.seed,
        accuracy=scored.accuracy,
        macro_f1=scored.macro_f1,
        weighted_f1=scored.weighted_f1,
        by_fold=scored.by_fold,
        fit_s=scored.fit_s,
        tried_at=one.at,
    )
