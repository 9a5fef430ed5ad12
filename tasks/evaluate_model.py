"""Step: what a model is worth on rows that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from catalogs import registry
from catalogs.product import join_path
from catalogs.spec import CatalogSpec
from classifier import baselines
from classifier.bootstrap import intervals
from classifier.calibration import calibration_error
from classifier.coverage import precision_coverage
from classifier.metrics import confusions, evaluate
from classifier.model import Model
from classifier.slices import Slices, slices
from core.orchestration import step
from core.settings import get_settings
from tasks.fit_model import Candidate
from tasks.split_rows import Split
from warehouse.policy import decide
from warehouse.runs import joined

RELIABILITY_BINS = 10


@dataclass(frozen=True)
class Evaluation:
    """Metrics on the hold-out (out-of-fold for a prototype), beside what is easy to reach.

    Attributes:
        metrics: as `classifier.metrics.evaluate` gives them, and calibration_error, of each level too.
        reliability: for each level, of rows at that confidence, how many were right: level, bin, confidence (mean),
            accuracy, count.
        answered: the hold-out rows with the model's answers: the reference that later products are compared with.
        intervals: of the metrics, as `classifier.bootstrap.intervals` gives them.
        coverage: as `classifier.coverage.precision_coverage` gives it.
        accepted: for each level the hold-out rows accepted down to it, and how many of them are right.
        slices: accuracy by slice of the hold-out; None without a hold-out.
        unmeasured: labels of the training rows that no hold-out row has.
        untaught: labels of hold-out rows that no training row has: the model cannot give them.
    """

    metrics: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    confusions: list[dict[str, Any]]
    reliability: pl.DataFrame
    answered: pl.DataFrame
    intervals: dict[str, Any] = field(default_factory=dict)
    coverage: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    slices: Slices | None = None
    unmeasured: list[str] = field(default_factory=list)
    untaught: list[str] = field(default_factory=list)


@step("evaluate model")
def evaluate_model(run_id: str, split: Split, candidate: Candidate) -> Evaluation:
    """Predict the hold-out with the model as it will be served, and compare."""
    spec = registry.load(joined(run_id).catalog)
    model = candidate.model
    answers = model.predict(split.holdout, reasons=False)
    given = answers.select("label", "label_path", "confidence", "confidence_path")
    answered = split.holdout.with_columns(given.get_columns())
    known, predicted = answered["known_path"], answered["label_path"]
    # A catalogue without a text field shows its products by the first of its others.
    shown = answered[(spec.text_fields or spec.field_names)[0]].cast(pl.String, strict=False)
    return Evaluation(
        metrics=_measured(model, answered, spec),
        baselines=_easy(split, spec) if answered.height else {},
        confusions=confusions(known, predicted, shown),
        reliability=_reliability(answered, spec),
        answered=answered,
        intervals=intervals(known, predicted, spec.levels, get_settings().seed),
        coverage=precision_coverage(answered, spec.levels),
        accepted=_accepted(model, answered, spec),
        slices=slices(answered, split.train, spec),
        unmeasured=_labels_without(split.train, split.holdout) if answered.height else [],
        untaught=_labels_without(split.holdout, split.train),
    )


def _measured(model: Model, answered: pl.DataFrame, spec: CatalogSpec) -> dict[str, Any]:
    if answered.is_empty():
        return model.out_of_fold
    found = evaluate(answered["known_path"], answered["label_path"], spec.levels)
    for level, name in enumerate(spec.levels, 1):
        rows = _confidence_and_truth(answered, level)
        error = calibration_error(rows["confidence"].to_numpy(), rows["right"].to_numpy())
        if "levels" in found:
            found["levels"][name]["calibration_error"] = error
    whole = (answered["known_path"] == answered["label_path"]).to_numpy()
    return found | {"calibration_error": calibration_error(answered["confidence"].to_numpy(), whole)}


def _easy(split: Split, spec: CatalogSpec) -> dict[str, dict[str, Any]]:
    """Metrics of the baselines on the hold-out, by name."""
    found = {
        "majority": baselines.majority(split.train, split.holdout, spec),
        "plain_tfidf": baselines.plain_tfidf(split.train, split.holdout, spec),
    }
    name = baselines.prototype_of(spec)
    published = None if name is None else baselines.prototype(name, split.train, split.holdout, spec)
    return found if name is None or published is None else found | {name: published}


def _accepted(model: Model, answered: pl.DataFrame, spec: CatalogSpec) -> list[dict[str, Any]]:
    """What the thresholds let through on the hold-out: level, rows, share, right (share of those rows)."""
    if answered.is_empty():
        return []
    policy = model.thresholds.with_columns(model_version=pl.lit("this"), review_all=pl.lit(value=False))
    depth = decide(answered, policy, "this")["depth"]
    found = []
    for level, name in enumerate(spec.levels, 1):
        taken = answered.filter(depth >= level)
        right = taken["known_path"].list.head(level) == taken["label_path"].list.head(level)
        found.append(
            {"level": name, "rows": taken.height, "share": taken.height / answered.height, "right": right.mean()}
        )
    return found


def _labels_without(these: pl.DataFrame, others: pl.DataFrame) -> list[str]:
    """Labels that some products have and no product of the others has."""
    own, known = (
        {join_path(path) or "" for path in frame["known_path"].drop_nulls().unique().to_list()}
        for frame in (these, others)
    )
    return sorted(own - known)


def _reliability(answered: pl.DataFrame, spec: CatalogSpec) -> pl.DataFrame:
    found = []
    for level, name in enumerate(spec.levels, 1):
        binned = (pl.col("confidence") * RELIABILITY_BINS).floor().clip(0, RELIABILITY_BINS - 1).cast(pl.Int64)
        found.append(
            _confidence_and_truth(answered, level)
            .group_by(pl.lit(name).alias("level"), binned.alias("bin"))
            .agg(
                pl.col("confidence").mean(),
                pl.col("right").mean().alias("accuracy"),
                pl.len().cast(pl.Int64).alias("count"),
            )
            .sort("bin")
        )
    return pl.concat(found)


def _confidence_and_truth(answered: pl.DataFrame, level: int) -> pl.DataFrame:
    """Of the products whose predicted path goes down to a level: confidence at it, and whether it is right so far."""
    return answered.select(
        pl.col("confidence_path").list.get(level - 1, null_on_oob=True).alias("confidence"),
        (pl.col("known_path").list.head(level) == pl.col("label_path").list.head(level)).alias("right"),
    ).drop_nulls("confidence")
