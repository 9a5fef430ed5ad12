"""Aisle's own flows and models as jobs of `measure`: what the commands call, in one process, without a server."""

from __future__ import annotations

import shutil
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.measure import Work
from benchmarks.memory import held_by_all
from benchmarks.products import canonical

__all__ = [
    "ingest_and_score",
    "label",
    "night",
    "prepare",
    "promote_and_score",
    "publish",
    "rollback",
    "score",
    "self_test",
    "store",
    "train",
]


_MODULES = (
    "flows.ingest",  # first: it sets what Prefect reads when it is imported
    "flows.score",
    "flows.train",
    "great_expectations.expectations",
    "pandas",
    "sklearn.feature_extraction.text",
    "sklearn.svm",
)


def _ready() -> None:
    """Import what the flows would import on their way: start-up is listed apart."""
    for module in _MODULES:
        import_module(module)


def prepare(source: str, catalog: str, recipes: list[str], into: str) -> Work:
    """Store a file, train a champion of each recipe on it, score, and copy the home to `into`/RECIPE after each."""
    from flows.ingest import ingest
    from flows.score import score
    from flows.train import train
    from warehouse.home import get_home

    def work() -> dict[str, Any]:
        ingest.fn(catalog, [source])
        for recipe in recipes:
            train.fn(catalog, recipe, promote=True)
            score.fn(catalog)
            shutil.copytree(get_home().root, Path(into) / recipe)
        return {}

    return work


def night(catalog: str, taught: str, source: str) -> Work:
    """Store and train on `taught`, then store and score `source`: what monitoring finds in the morning."""
    from flows.ingest import ingest
    from flows.score import score
    from flows.train import train

    def work() -> dict[str, Any]:
        ingest.fn(catalog, [taught])
        train.fn(catalog, "linear-fast", promote=True)
        score.fn(catalog)
        ingest.fn(catalog, [source])
        score.fn(catalog)
        return {}

    return work


def self_test(source: str, catalog: str, trials: int) -> Work:
    """Store a set, train on it, and test the drift detectors on what the model had not learnt from."""
    from flows.ingest import ingest
    from flows.self_test import self_test as flow
    from flows.train import train

    def work() -> dict[str, Any]:
        ingest.fn(catalog, [source])
        train.fn(catalog, "linear-fast", promote=True)
        return {"trials": flow.fn(catalog, trials).trials}

    return work


def ingest_and_score(source: str, catalog: str) -> Work:
    """From a file to predictions that SQL finds; work ends when a query over the view has answered."""
    _ready()
    from flows.ingest import ingest
    from flows.score import score
    from warehouse.home import get_home
    from warehouse.query import query

    counted = "SELECT decision, count(*) AS n FROM predictions GROUP BY decision"

    def work() -> dict[str, Any]:
        before = time.perf_counter()
        ingested = ingest.fn(catalog, [source])
        between = time.perf_counter()
        scored = score.fn(catalog)
        after = time.perf_counter()
        answered = sum(row["n"] for row in query(get_home(), counted).as_dicts())
        return {
            "rows": ingested.rows["read"],
            "scored": scored.rows["scored"],
            "answered": answered,
            "ingest_s": between - before,
            "score_s": after - between,
        }

    return work


def store(source: str, catalog: str) -> Work:
    """Store a file, and score nothing."""
    from flows.ingest import ingest

    def work() -> dict[str, Any]:
        return {"rows": ingest.fn(catalog, [source]).rows["read"]}

    return work


def score(catalog: str) -> Work:
    """Score what has no answer; the peak is that of this process and all that it starts, together."""
    _ready()
    from flows.score import score as flow

    def work() -> dict[str, Any]:
        with held_by_all() as held:
            scored = flow.fn(catalog).rows["scored"]
        return {"rows": scored, "scored": scored, "peak_mib": held.peak_mib}

    return work


def promote_and_score(catalog: str, version: str) -> Work:
    """Have another model answer for every product: `aisle models promote`, then `aisle score`."""
    _ready()
    from aisle.commands.models import promote
    from flows.score import score as flow

    def work() -> dict[str, Any]:
        promote(catalog, version)
        before = time.perf_counter()
        scored = flow.fn(catalog).rows["scored"]
        return {"rows": scored, "scored": scored, "score_s": time.perf_counter() - before}

    return work


def rollback(catalog: str) -> Work:
    """`aisle models rollback`, imports included: who gives it waits for them."""

    def work() -> dict[str, Any]:
        from aisle.commands import models

        models.rollback(catalog, as_json_=True)
        return {}

    return work


def publish() -> Work:
    """The last act of every run: `warehouse.duckdb` is built beside and renamed into place."""
    from warehouse.home import get_home
    from warehouse.publish import publish as build

    build(get_home())  # what it loads on its way is no part of the time

    def work() -> dict[str, Any]:
        build(get_home())
        return {}

    return work


def train(catalog: str, recipe: str, overrides: dict[str, str] | None = None) -> Work:
    """`aisle train`: vectorise, fit, calibrate, evaluate on the hold-out, write the artifact and the report."""
    _ready()
    from flows.train import train as flow

    def work() -> dict[str, Any]:
        result = flow.fn(catalog, recipe, overrides, promote=True)
        metrics = result.metrics
        rows = result.rows + result.holdout_rows
        return {
            "rows": rows,
            "fit_s": result.train_s,
            "accuracy": metrics["accuracy"],
            "macro_f1": metrics["macro_f1"],
        }

    return work


def label(train_on: str, source: str, catalog: str, recipe: str, one_text: bool, repeats: int) -> Work:
    """Train to get ready; then labels of products that are in memory, without reasons.

    Args:
        train_on: file to learn from.
        source: file whose products are labelled.
        catalog: their catalogue.
        recipe: how to train.
        one_text: read all text fields joined as one and nothing else, as the rivals do.
        repeats: times to label all products; the median counts.
    """
    import polars as pl

    from catalogs.spec import FieldSpec
    from classifier.metrics import evaluate
    from classifier.model import fit
    from classifier.recipes import resolve

    spec, learnt = canonical(Path(train_on), catalog)
    _, frame = canonical(Path(source), catalog)
    if one_text:
        joined = pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True).alias("text")
        learnt, frame = learnt.with_columns(joined), frame.with_columns(joined)
        spec = spec.model_copy(update={"fields": [FieldSpec(name="text", kind="text")], "expectations": []})
    model = fit(learnt, spec, resolve(spec, recipe), seed=0)
    model.predict(frame.head(1_000), reasons=False)

    def work() -> dict[str, Any]:
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            answers = model.predict(frame, reasons=False)
            times.append(time.perf_counter() - started)
        metrics = evaluate(frame["known_path"], answers["label_path"], spec.levels)
        seconds = sorted(times)[len(times) // 2]
        return {
            "rows": frame.height,
            "seconds": seconds,
            "accuracy": metrics["accuracy"],
            "macro_f1": metrics["macro_f1"],
        }

    return work
