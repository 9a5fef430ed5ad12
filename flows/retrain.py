"""The retrain flow: a challenger from all that is labelled by now, and new answers if it becomes champion."""

from __future__ import annotations

from prefect import flow

from core.orchestration import part, run_name, task_runner
from flows.score import score
from flows.train import train
from tasks.model_results import RetrainResult
from tasks.summarise_run import make_visible
from warehouse.runs import open_run


@flow(name="retrain", flow_run_name=run_name, task_runner=task_runner())
def retrain(catalog: str, why: str = "somebody asked for it") -> RetrainResult:
    """Train on every labelled product, people's labels included; let the gate decide; have the champion answer.

    Where the gate refuses, the champion stays, and has answered for all but what is new. `why` says what led to it.
    """
    with open_run(catalog, "retrain") as run:
        trained = part(train, catalog, within=run.run_id)
        make_visible(run.run_id)
        scored = part(score, catalog, within=run.run_id)
        return RetrainResult.of(run, why, trained, scored)
