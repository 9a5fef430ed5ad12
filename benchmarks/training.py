"""(c) Training and evaluating."""

from __future__ import annotations

from typing import Any

from benchmarks import fast_text, pipeline, plain
from benchmarks.measure import Measured, measured
from benchmarks.options import Options
from benchmarks.products import make
from benchmarks.results import Column, Report

__all__ = ["run"]

ROWS = 1_250_000
MIB = 1024
WAYS: dict[str, dict[str, Any]] = {
    "Aisle linear-fast": {"recipe": "linear-fast"},
    "Aisle linear-fast, 5 epochs": {"recipe": "linear-fast", "overrides": {"model.epochs": "5"}},
    "Aisle linear": {"recipe": "linear"},
}
PLAIN = "plain: words + bigrams"
FASTTEXT = "fastText supervised"


def run(options: Options) -> Report:
    """Measure."""
    rows = options.size(ROWS)
    options.say(f"training: making {rows:,} products")
    source = make(options.folder, rows, seed=0)
    report = Report(
        "training",
        "Training and evaluating",
        f"{rows:,} products ({source.maker}), four fifths to learn from and one fifth held out. Aisle: the whole of "
        "`aisle train` on stored products: vectorise, fit, calibrate on out-of-fold scores, set thresholds, evaluate, "
        "compare with plain baselines, write the artifact and the report. Plain: read the file, TfidfVectorizer and "
        "LinearSVC, evaluate. fastText: read the file, `supervised` (5 epochs), evaluate.",
        [
            Column("rows", "products"),
            Column("seconds", "seconds", ",.1f"),
            Column("ratio", "times faster than plain words + bigrams", ",.1f"),
            Column("fit_s", "of it fitting", ",.1f"),
            Column("start_s", "start-up s", ",.1f"),
            Column("cpu_s", "processor s", ",.1f"),
            Column("peak_mib", "peak MiB"),
            Column("accuracy", "accuracy", ".4f"),
            Column("macro_f1", "macro F1", ".4f"),
        ],
        charts=(("seconds", "seconds"), ("peak_mib", "peak memory, MiB")),
        notes=["Hold-outs differ: Aisle's is chosen by a digest of the text, so that equal texts stay together."],
    )
    home = options.folder / "home"
    options.say("training: storing the products")
    measured(
        pipeline.prepare,
        {"source": str(source.path), "catalog": source.catalog, "recipes": [], "into": str(options.folder)},
        home=home,
    )
    own: dict[str, Any]
    for way, asked in WAYS.items():
        options.say(f"training: {way}")
        _add(report, way, measured(pipeline.train, {"catalog": source.catalog} | asked, home=home))
    own = {"source": str(source.path), "columns": source.columns, "rows": rows}
    options.say(f"training: {PLAIN}")
    _add(report, PLAIN, measured(plain.train, own | {"features": "bigrams"}))
    if fast_text.installed():
        options.say(f"training: {FASTTEXT}")
        _add(report, FASTTEXT, measured(fast_text.train, own))
    else:
        report.missing(FASTTEXT)
    _goals(report, rows)
    return report


def _add(report: Report, way: str, found: Measured) -> None:
    own = {"seconds": found.seconds, "start_s": found.start_s, "cpu_s": found.cpu_s, "peak_mib": found.peak_mib}
    report.add(way, **own, **found.facts)


def _goals(report: Report, rows: int) -> None:
    base = report.value(PLAIN, "seconds")
    for row in report.rows:
        if base and "seconds" in row:
            row["ratio"] = base / row["seconds"]
    report.reach("linear-fast ≥ 3 × the plain way", report.value("Aisle linear-fast", "ratio"), least=3)
    if rows >= ROWS:
        report.reach("linear-fast ≤ 300 s", report.value("Aisle linear-fast", "seconds"), most=300)
        report.reach("linear-fast ≤ 6,144 MiB", report.value("Aisle linear-fast", "peak_mib"), most=6 * MIB)
