"""Step: whether the catalogue's policy wants a new model, by rules that anybody can read again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from catalogs import registry
from catalogs.spec import CatalogSpec
from classifier.bootstrap import wilson
from core.orchestration import artifact_table, step
from reports.page import share
from warehouse import columns, tables
from warehouse.places import places
from warehouse.policy import reviewing_all
from warehouse.registry import ModelRecord, champion, last_training, trained_at
from warehouse.runs import Run, announce, joined
from warehouse.watched import labelled_accuracy, new_labels

_LEAST_LABELS = 30
"""With fewer right answers known, an accuracy says nothing."""


@dataclass(frozen=True)
class Rule:
    """One rule of the policy, applied.

    Attributes:
        rule: drift, review share, accuracy, age; new labels, pause.
        value: what was found; None where it could not be.
        limit: from the catalogue's TOML; None: the rule is off.
        met: whether it is a reason to train; of new labels and pause whether they allow it.
        why: in words.
    """

    rule: str
    value: float | None
    limit: float | None
    met: bool
    why: str


@dataclass(frozen=True)
class Retraining:
    """The decision: whether a new model is wanted, in a sentence, and every rule behind it."""

    wanted: bool
    summary: str
    rules: list[Rule]


@step("decide retraining")
def decide_retraining(run_id: str) -> Retraining:
    """Apply the policy, keep every rule in `retraining`, and announce it when a new model is wanted."""
    run = joined(run_id)
    spec = registry.load(run.catalog)
    model = champion(run)
    if model is None:
        return Retraining(wanted=False, summary="there is no champion to replace", rules=[])
    reasons = [_drift(run, spec, model), _review(run, spec), _accuracy(run, spec, model), _age(run, spec, model)]
    allowed = list(_allowed(run, spec))
    asked, held = [rule for rule in reasons if rule.met], [rule for rule in allowed if not rule.met]
    wanted = bool(asked) and not held
    if not asked:
        summary = "No new model is wanted: no rule of the catalogue's policy asks for one."
    else:
        said = "; ".join(rule.why for rule in asked)
        summary = f"A new model is wanted: {said}."
        if held:
            summary = f"A new model would be wanted ({said}), but not now: {'; '.join(rule.why for rule in held)}."
    found = Retraining(wanted, summary, [*reasons, *allowed])
    _keep(run, model, found)
    if wanted:
        facts = {"model_version": model.version, "rules": [rule.rule for rule in asked]}
        announce(run, "aisle.retrain", f"{run.catalog}: {summary}", facts)
    return found


def _keep(run: Run, model: ModelRecord, found: Retraining) -> None:
    rows = pl.DataFrame([asdict(rule) for rule in found.rules]).with_columns(
        pl.lit(run.run_id).alias("run_id"),
        pl.lit(datetime.now(UTC), dtype=columns.TIME).alias("decided_at"),
        pl.lit(model.version).alias("model_version"),
        pl.lit(found.wanted).alias("wanted"),
    )
    run.append("retraining", tables.conform(rows, "retraining"))
    shown = [asdict(rule) for rule in found.rules]
    artifact_table(f"retraining-{run.catalog}", shown, found.summary)


def _drift(run: Run, spec: CatalogSpec, model: ModelRecord) -> Rule:
    """How many batches in a row, up to now, came with drift; a look at what was looked at before adds no evidence."""
    limit = spec.retrain.drift_batches
    brought_in = pl.col("n_current").filter(pl.col("comparison") == "arrivals").max().alias("brought_in")
    looks = (
        run.read("drift")
        .filter(pl.col("model_version") == model.version)
        .group_by("run_id")
        .agg(
            pl.col("drifted").any(), pl.col("drifted").count().alias("judged"), pl.col("measured_at").max(), brought_in
        )
        .filter(pl.col("judged") > 0, pl.col("brought_in") > 0)
        .sort("measured_at", descending=True)
    )
    in_a_row = int(looks["drifted"].cast(pl.Int64).cum_prod().sum())
    times = "batch" if in_a_row == 1 else "batches"
    met = bool(limit) and in_a_row >= limit
    return Rule("drift", in_a_row, limit or None, met, f"drift with {in_a_row} {times} in a row ({_of(limit or None)})")


def _review(run: Run, spec: CatalogSpec) -> Rule:
    now, limit = places(run), spec.retrain.max_review_share
    if reviewing_all(run):
        return Rule("review share", None, limit, met=False, why="everything is sent to review, by the policy's switch")
    answered = now["accepted"] + now["review"]
    value = now["review"] / answered if answered else None
    met = limit is not None and value is not None and value > limit
    said = "no predictions" if value is None else f"{share(value)} of the predictions are in review"
    return Rule("review share", value, limit, met, f"{said} ({_of(limit, share)})")


def _accuracy(run: Run, spec: CatalogSpec, model: ModelRecord) -> Rule:
    """Right answers beside what the confidences promise: labels of people come for doubtful products, as these say."""
    found, limit = labelled_accuracy(run, spec, model), spec.retrain.max_accuracy_loss
    if found.rows < _LEAST_LABELS or found.expected is None:
        why = f"{found.rows} labels that the model had not learnt; {_LEAST_LABELS} are needed to judge it by"
        return Rule("accuracy", None, limit, met=False, why=why)
    right = found.right / found.rows
    best = wilson(right, found.rows)
    met = limit is not None and best is not None and best[1] < found.expected - limit
    why = (
        f"{share(right)} of {found.rows:,} labelled products that it had not learnt are right, its confidences say "
        f"{share(found.expected)} ({_of(limit, share)} of loss)"
    )
    return Rule("accuracy", found.expected - right, limit, met, why)


def _age(run: Run, spec: CatalogSpec, model: ModelRecord) -> Rule:
    age = (datetime.now(UTC) - trained_at(run, model.version)) / timedelta(days=1)
    limit = spec.retrain.max_age_days
    met = limit is not None and age > limit
    return Rule("age", age, limit, met, f"the champion is {age:.1f} days old ({_of(limit)})")


def _allowed(run: Run, spec: CatalogSpec) -> Iterator[Rule]:
    last = last_training(run)
    if last is None:
        return
    new, least = new_labels(run, spec, last), spec.retrain.min_new_labels
    said = f"{new:,} labelled products to learn from since the last training (at least {least:,})"
    yield Rule("new labels", new, least, new >= least, said)
    days, pause = (datetime.now(UTC) - last) / timedelta(days=1), spec.retrain.pause_days
    yield Rule("pause", days, pause, days >= pause, f"the last training was {days:.1f} days ago (pause: {pause:g})")


def _of(limit: float | None, form: object = None) -> str:
    if limit is None:
        return "no limit is set"
    return f"limit {share(limit) if form is share else f'{limit:g}'}"
