"""The tune flow: which parameters of a recipe suit a catalogue best, by cross-validation."""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.model_results import TuneResult
from tasks.plan_search import plan_search
from tasks.record_trials import record_trials
from tasks.try_recipe import forget_features, try_recipe
from warehouse.runs import open_run


@flow(name="tune", flow_run_name=run_name, task_runner=task_runner())
def tune(
    catalog: str,
    recipe: str | None = None,
    overrides: dict[str, str] | None = None,
    trials: int | None = None,
    folds: int | None = None,
) -> TuneResult:
    """Try out the recipe's space on the training rows, trials side by side. No model is made, no champion changed.

    `overrides` are parameters held to one value; `trials` bounds how many points of the space are tried.
    A trial that fails with a named error is told, and the others are kept.
    """
    with open_run(catalog, "tune") as run:
        search = plan_search(run.run_id, recipe, overrides, trials, folds)
        try:
            ended = try_recipe.each(search.trials, shared=run.staging)
        finally:
            forget_features()
        ranked = record_trials(run.run_id, search, ended)
        return TuneResult.of(run, search, ranked, ended)
