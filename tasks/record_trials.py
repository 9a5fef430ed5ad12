"""Step: keep what a search found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from core.orchestration import artifact_table, step
from tasks import tracking
from tasks.plan_search import Search
from tasks.try_recipe import Failed, Tried
from warehouse.runs import joined
from warehouse.trials import TrialRecord, record


@step("record trials")
def record_trials(run_id: str, search: Search, ended: Sequence[Tried | Failed]) -> list[TrialRecord]:
    """Write every trial that finished down; the best first, and of equals the one that comes first in the grid.

    Raises:
        AisleError: that of the first trial, when none finished.
    """
    run = joined(run_id)
    tried = [one for one in ended if isinstance(one, Tried)]
    if not tried:
        raise next(one.error for one in ended if isinstance(one, Failed))
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
    return TrialRecord(
        trial=one.trial.number,
        recipe=search.recipe,
        params=one.trial.recipe.settings,
        tried=one.trial.tried,
        data_digest=search.data_digest,
        folds=search.folds,
        seed=one.trial.seed,
        tried_at=one.at,
        **asdict(one.scored),
    )
