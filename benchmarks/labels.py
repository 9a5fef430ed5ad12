"""(b) From text to labels, in memory."""

from __future__ import annotations

import os
from typing import Any

from benchmarks import fast_text, pipeline, plain
from benchmarks.measure import Measured, measured
from benchmarks.options import Options
from benchmarks.products import make
from benchmarks.results import Column, Report

__all__ = ["run"]

ROWS = 250_000
TAUGHT_ROWS = 100_000

OURS = {
    "Aisle linear-fast": ("linear-fast", False),
    "Aisle linear-fast, one text": ("linear-fast", True),
    "Aisle linear": ("linear", False),
}
PLAIN = {"plain: words + bigrams": "bigrams", "plain: words": "words"}
FASTTEXT = "fastText predict-prob"


def run(options: Options) -> Report:
    """Measure."""
    rows = options.size(ROWS)
    options.say(f"labels: making {rows:,} products")
    source = make(options.folder, rows, seed=0)
    taught = make(options.folder, min(rows, TAUGHT_ROWS), seed=1)
    report = Report(
        "labels",
        "Text to labels",
        f"Labels of {rows:,} products in memory ({source.maker}), without reasons, by models that learnt from "
        f"{taught.rows:,} others. `linear-fast` and `linear` read each text field apart, and brands, ids and prices; "
        "the others read all text fields as one. Median of several passes. fastText: one process for each half, "
        "its texts lower-cased and split into words beforehand, loading its model not counted.",
        [
            Column("rows", "products"),
            Column("rate", "products/s"),
            Column("ratio", "× plain words + bigrams", ",.1f"),
            Column("seconds", "seconds", ",.2f"),
            Column("accuracy", "accuracy", ".4f"),
            Column("macro_f1", "macro F1", ".4f"),
        ],
        charts=(("rate", "products/s"),),
    )
    files: dict[str, Any] = {"train_on": str(taught.path), "source": str(source.path)}
    for way, (recipe, one_text) in OURS.items():
        options.say(f"labels: {way}")
        own = {"catalog": source.catalog, "recipe": recipe, "one_text": one_text, "repeats": options.repeats}
        _add(report, way, measured(pipeline.label, files | own))
    for way, features in PLAIN.items():
        options.say(f"labels: {way}")
        own = {"columns": source.columns, "features": features, "rows": rows}
        _add(report, way, measured(plain.label, files | own))
    if fast_text.installed():
        options.say(f"labels: {FASTTEXT}")
        found = measured(fast_text.predict, files | {"columns": source.columns, "rows": rows}, repeats=options.repeats)
        _add(report, FASTTEXT, found)
        report.notes.append(f"fastText took {found.facts['load_s']:.1f} s more to start and to load its model.")
    else:
        report.missing(FASTTEXT)
    _goals(report)
    return report


def _add(report: Report, way: str, found: Measured) -> None:
    seconds = found.facts.pop("seconds", found.seconds)
    report.add(way, seconds=seconds, rate=found.facts["rows"] / seconds, **found.facts)


def _goals(report: Report) -> None:
    base = report.value("plain: words + bigrams", "rate")
    for row in report.rows:
        if base and "rate" in row:
            row["ratio"] = row["rate"] / base
    rate, theirs = report.value("Aisle linear-fast", "rate"), report.value(FASTTEXT, "rate")
    report.reach("linear-fast ≥ 75,000 products/s", rate, least=75_000)
    report.reach("linear-fast ≥ fastText: ratio ≥ 1", rate / theirs if rate and theirs else None, least=1)
    report.reach("linear-fast ≥ 5 × plain words + bigrams", report.value("Aisle linear-fast", "ratio"), least=5)
    if (os.cpu_count() or 1) < 2:
        report.notes.append("This machine has one core: nothing here could use two.")
