"""(d) One product in process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.plain import read, unfitted
from benchmarks.products import Columns, canonical, make, records
from benchmarks.results import Column, Report

__all__ = ["ours", "plain_way", "run"]

ROWS = 50_000
ASKED = 2_000
WARM_UP = 50
MILLI = 1_000.0


def run(options: Options) -> Report:
    """Measure."""
    rows = options.size(ROWS)
    source, asked = make(options.folder, rows, seed=0), make(options.folder, min(rows, ASKED), seed=1)
    report = Report(
        "single",
        "One product",
        f"Milliseconds for one product, in process, one after the other: {asked.rows:,} products ({source.maker}) that "
        f"the models, trained on {rows:,} others, have never seen. Plain: `pipeline.predict([text])`.",
        [
            Column("median_ms", "median ms", ".3f"),
            Column("p99_ms", "99th percentile ms", ".3f"),
            Column("start_s", "imports and training s", ",.1f"),
        ],
        charts=(("median_ms", "median, ms"),),
    )
    files: dict[str, Any] = {"train_on": str(source.path), "asked": str(asked.path)}
    for recipe in ("linear-fast", "linear"):
        options.say(f"single: {recipe}")
        found = measured(ours, files | {"catalog": source.catalog, "recipe": recipe})
        for way, times in found.facts.items():
            report.add(f"Aisle {recipe}, {way}", **times, start_s=found.start_s)
    for features in ("bigrams", "words"):
        options.say(f"single: plain, {features}")
        found = measured(plain_way, files | {"columns": source.columns, "features": features})
        name = "words + bigrams" if features == "bigrams" else features
        report.add(f"plain: {name}", **found.facts["text"], start_s=found.start_s)
    for recipe in ("linear-fast", "linear"):
        report.reach(f"{recipe} ≤ 0.5 ms", report.value(f"Aisle {recipe}, label and reasons", "median_ms"), most=0.5)
    report.notes.append(
        "“Raw record” is the whole way from a parsed JSON object: normalising, label, confidence and reasons."
    )
    return report


def ours(train_on: str, asked: str, catalog: str, recipe: str) -> Work:
    """Job: `Model.predict_rows` of one product."""
    from catalogs.records import product_of
    from classifier.model import fit
    from classifier.recipes import resolve

    spec, learnt = canonical(Path(train_on), catalog)
    model = fit(learnt, spec, resolve(spec, recipe), seed=0)
    raw = list(records(Path(asked)))
    products = [product_of(record, spec) for record in raw]

    def work() -> dict[str, Any]:
        return {
            "label and reasons": _times(lambda one: model.predict_rows([one]), products),
            "label": _times(lambda one: model.predict_rows([one], reasons=False), products),
            "raw record": _times(lambda one: model.predict_rows([product_of(one, spec, digests=False)]), raw),
        }

    return work


def plain_way(train_on: str, asked: str, columns: dict[str, Any], features: str) -> Work:
    """Job: `pipeline.predict` of one text."""
    own = Columns(**columns)
    fitted = unfitted(own, features).fit(*read(Path(train_on), own, features, ROWS))
    texts, _ = read(Path(asked), own, features, ASKED)

    def work() -> dict[str, Any]:
        return {"text": _times(lambda one: fitted.predict([one]), texts)}

    return work


def _times(answer: Callable[[Any], Any], asked: Sequence[Any]) -> dict[str, float]:
    for one in asked[:WARM_UP]:
        answer(one)
    times = []
    for one in asked:
        started = time.perf_counter()
        answer(one)
        times.append(time.perf_counter() - started)
    times.sort()
    return {"median_ms": times[len(times) // 2] * MILLI, "p99_ms": times[len(times) * 99 // 100] * MILLI}
