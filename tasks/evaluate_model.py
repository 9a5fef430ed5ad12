"""Step: what a model is worth on rows that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from catalogs import registry
from catalogs.spec import CatalogSpec
from classifier import baselines
from classifier.metrics import confusions, evaluate
from classifier.model import Model
from core.orchestration import step
from tasks.fit_model import Candidate
from tasks.split_rows import Split
from warehouse.runs import joined

RELIABILITY_BINS = 10


@dataclass(frozen=True)
class Evaluation:
    """Metrics on the hold-out (out-of-fold for a prototype), beside what is easy to reach."""

    metrics: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    confusions: list[dict[str, Any]]
    reliability: pl.DataFrame
    answered: pl.DataFrame
    """The hold-out rows with the model's answers: the reference that later products are compared with."""


@step("evaluate model")
def evaluate_model(run_id: str, split: Split, candidate: Candidate) -> Evaluation:
    """Predict the hold-out with the model as it will be served, and compare."""
    spec = registry.load(joined(run_id).catalog)
    answers = candidate.model.predict(split.holdout, reasons=False)
    given = answers.select("label", "label_path", "confidence", "confidence_path")
    answered = split.holdout.with_columns(given.get_columns())
    metrics = _measured(candidate.model, answered, spec)
    easy = {
        "majority": baselines.majority(split.train, split.holdout, spec),
        "plain_tfidf": baselines.plain_tfidf(split.train, split.holdout, spec),
    }
    mistakes = confusions(answered["known_path"], answered["label_path"], answered[spec.text_fields[0]])
    return Evaluation(metrics, easy if answered.height else {}, mistakes, _reliability(answered), answered)


def _measured(model: Model, answered: pl.DataFrame, spec: CatalogSpec) -> dict[str, Any]:
    if answered.is_empty():
        return model.out_of_fold
    return evaluate(answered["known_path"], answered["label_path"], spec.levels)


def _reliability(answered: pl.DataFrame) -> pl.DataFrame:
    """Of rows at that confidence, how many were right: bin, confidence, accuracy, count."""
    right = pl.col("known_path") == pl.col("label_path")
    return (
        answered.with_columns(
            (pl.col("confidence") * RELIABILITY_BINS).floor().clip(0, RELIABILITY_BINS - 1).cast(pl.Int64).alias("bin")
        )
        .group_by("bin")
        .agg(pl.col("confidence").mean(), right.mean().alias("accuracy"), pl.len().cast(pl.Int64).alias("count"))
        .sort("bin")
    )
