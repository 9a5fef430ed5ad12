"""The score flow: the champion's answer for every current product that it has not answered for."""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.plan_scoring import plan_scoring
from tasks.results import ScoreResult
from tasks.score_partition import score_partition
from tasks.store_scores import store_scores
from warehouse.runs import open_run


@flow(name="score", flow_run_name=run_name, task_runner=task_runner())
def score(
    catalog: str,
    model: str | None = None,
    within: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> ScoreResult:
    """Score new and changed products, in partitions side by side.

    `model` names a version in place of the champion; `within` is the run that this is a part of. `since` and `until`
    (dates or times, in UTC) backfill what was stored then: into the history, and into current answers if the model is
    champion.
    """
    with open_run(catalog, "score", within=within) as run:
        plan = plan_scoring(run.run_id, model, since, until)
        score_partition.each(plan.partitions, shared=run.staging, record=plan.model, run_id=run.run_id)
        store_scores(run.run_id, plan)
        return ScoreResult.of(run, plan)
