"""Step: a training in MLflow, if a store is named."""

from __future__ import annotations

from core.orchestration import step
from tasks import tracking
from tasks.evaluate_model import Evaluation
from tasks.fit_model import Candidate
from tasks.promote_model import Verdict
from tasks.register_model import Registered
from tasks.split_rows import Split
from warehouse.runs import joined

METRICS = ("accuracy", "macro_f1", "weighted_f1", "calibration_error")


@step("track training")
def track_training(
    run_id: str, split: Split, candidate: Candidate, evaluation: Evaluation, registered: Registered, verdict: Verdict
) -> None:
    """Log parameters, metrics, what it was trained on, and the model's card."""
    run = joined(run_id)
    measured = {name: evaluation.metrics.get(name) for name in METRICS}
    for name, level in evaluation.metrics.get("levels", {}).items():
        measured |= {f"{name}.{metric}": level.get(metric) for metric in METRICS}
    sizes = {"rows": split.train.height, "holdout_rows": split.holdout.height, "train_s": candidate.train_s}
    record = registered.record
    tags = {
        "kind": "training",
        "catalog": run.catalog,
        "version": record.version,
        "run_id": run_id,
        "recipe": record.recipe,
        "data_digest": split.data_digest,
        "model_digest": record.digest,
        "promoted": str(verdict.promoted).lower(),
        "why": verdict.why,
    }
    card = (record.folder / "card.md").read_text(encoding="utf-8")
    one = tracking.Tracked(
        name=f"{run.catalog} {record.version}",
        params=split.recipe.settings,
        metrics=measured | sizes,
        tags=tags,
        texts={"card.md": card},
        took_s=candidate.train_s,
    )
    tracking.track(run.catalog, [one])
