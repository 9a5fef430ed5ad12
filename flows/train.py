"""The train flow: from labelled products to a model that is registered, evaluated and, if it is no worse, promoted."""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.embed_products import embed_products
from tasks.evaluate_model import evaluate_model
from tasks.find_label_issues import find_label_issues
from tasks.fit_model import fit_model
from tasks.model_results import TrainResult
from tasks.promote_model import promote_model
from tasks.register_model import register_model
from tasks.split_rows import split_rows
from tasks.study_model import study_model
from tasks.track_training import track_training
from warehouse.runs import open_run


@flow(name="train", flow_run_name=run_name, task_runner=task_runner())
def train(
    catalog: str,
    recipe: str | None = None,
    overrides: dict[str, str] | None = None,
    promote: bool = False,
    study: bool = False,
    within: str | None = None,
) -> TrainResult:
    """Train on every labelled product outside the hold-out, evaluate on the hold-out, and let the gate decide.

    `promote` overrules the gate; `overrides` are recipe parameters; `study` fits again for the report, however long
    that takes; `within` is the run that this is a part of.
    """
    with open_run(catalog, "train", within=within) as run:
        split = split_rows(run.run_id, recipe, overrides)
        candidate = fit_model(run.run_id, split)
        evaluation = evaluate_model(run.run_id, split, candidate)
        studies = study_model(run.run_id, split, candidate, evaluation, asked=study)
        suspected = find_label_issues(split, candidate)
        embedding = embed_products(run.run_id, split)
        registered = register_model(run.run_id, split, candidate, evaluation, studies, suspected, embedding)
        verdict = promote_model(run.run_id, split, registered, evaluation, overrule=promote)
        track_training(run.run_id, split, candidate, evaluation, registered, verdict)
        return TrainResult.of(run, split, candidate, evaluation, registered, verdict)
