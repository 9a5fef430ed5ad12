"""(a) From a file to predictions that SQL finds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks import pipeline, plain
from benchmarks.measure import Measured, measured
from benchmarks.options import Options
from benchmarks.products import Source, make
from benchmarks.results import Column, Report

__all__ = ["run"]

ROWS = 1_250_000
SMALL_SHARE = 0.08
"""The smaller file, whose peak memory is compared: 100,000 products beside 1,250,000."""
TAUGHT_ROWS = 200_000
"""Products that every champion has learnt from."""
PLAIN_TAUGHT_ROWS = {"words": 100_000, "bigrams": 100_000, "fields": 100_000, "subwords": 20_000}
"""The plain models' training is not measured here, and LinearSVC takes minutes for more."""
PLAIN_ROWS = {"words": 100_000, "bigrams": 100_000, "fields": 100_000, "subwords": 20_000}
"""Products of a pass of the plain ways, which take one after the other at the same pace; with character n-grams under a
thousand a second."""
RIVALS = {"linear-fast": "fields", "linear": "subwords"}
"""The plain way with the same features: a pass of it right before a recipe, and one right after. Over the minutes of
this benchmark a machine that others share changes its speed."""
MIB = 1024

PLAIN_MEANS = """Plain means TfidfVectorizer(sublinear_tf, min_df=2) over all text as one, and LinearSVC. With
linear-fast's features: each text field apart with words and bigrams, brands, ids and binned prices beside them; with
linear's: character 3- to 5-grams of each text field as well."""
PEAK_MEANS = """Peak memory is the most that the process held resident, imports included; Aisle's includes the pages of
the model's weights that are mapped from its files."""

PLAIN = {
    "words": "plain: words",
    "bigrams": "plain: words + bigrams",
    "fields": "plain: linear-fast's features",
    "subwords": "plain: linear's features",
}


def run(options: Options) -> Report:
    """Measure."""
    rows = options.size(ROWS)
    few = max(round(rows * SMALL_SHARE), 20)
    options.say(f"bulk: making {rows:,} products")
    source = make(options.folder, rows, seed=0)
    small = make(options.folder, few, seed=1)
    taught = make(options.folder, min(rows, TAUGHT_ROWS), seed=2)
    report = Report(
        "bulk",
        "File to queryable predictions",
        f"From a file of JSON lines (not compressed; {source.maker}) to predictions that an SQL query finds: read, "
        "validated, stored, scored with reasons, published. The plain way reads a part of the file line by line, and "
        "writes labels to Parquet files; it validates, explains and stores nothing. Models were trained before. "
        "Start-up (imports; for the plain way also the model) is listed apart and not counted in the rate.",
        [
            Column("rows", "products"),
            Column("rate", "products/s"),
            Column("seconds", "seconds", ",.1f"),
            Column("ingest_s", "of it ingest", ",.1f"),
            Column("score_s", "of it score", ",.1f"),
            Column("start_s", "start-up s", ",.1f"),
            Column("cpu_s", "processor s", ",.1f"),
            Column("peak_mib", "peak MiB"),
        ],
        charts=(("rate", "products/s"), ("peak_mib", "peak memory, MiB")),
    )
    options.say(f"bulk: training the champions on {taught.rows:,} products")
    home = options.folder / "home"
    measured(
        pipeline.prepare,
        {"source": str(taught.path), "catalog": source.catalog, "recipes": list(RIVALS), "into": str(options.folder)},
        home=home,
    )
    shutil.rmtree(home)
    for features in PLAIN:
        _fit_plain(options, features, source, taught)
    for recipe, features in RIVALS.items():
        before = _pass(options, features, source)
        for part in (source, small):
            _ours(report, options, recipe, part)
        _add_plain(report, features, [before, _pass(options, features, source)])
        _forget(options.folder / recipe)
    for features in PLAIN:
        if features not in RIVALS.values():
            _add_plain(report, features, [_pass(options, features, source)])
    _goals(report, rows, few)
    return report


def _ours(report: Report, options: Options, recipe: str, source: Source) -> None:
    options.say(f"bulk: {recipe}, {source.rows:,} products")
    home = options.folder / "home"
    shutil.copytree(options.folder / recipe, home)
    found = measured(pipeline.ingest_and_score, {"source": str(source.path), "catalog": source.catalog}, home=home)
    shutil.rmtree(home)
    facts = found.facts
    report.add(
        _way(recipe, source.rows),
        rate=facts["rows"] / found.seconds,
        seconds=found.seconds,
        start_s=found.start_s,
        cpu_s=found.cpu_s,
        peak_mib=found.peak_mib,
        **facts,
    )


def _plain(options: Options, features: str, source: Source) -> dict[str, Any]:
    model = str(options.folder / f"{features}.joblib")
    return {"columns": source.columns, "features": features, "model": model}


def _fit_plain(options: Options, features: str, source: Source, taught: Source) -> None:
    learnt = min(taught.rows, PLAIN_TAUGHT_ROWS[features])
    options.say(f"bulk: training {PLAIN[features]} on {learnt:,} products")
    measured(plain.fit, _plain(options, features, source) | {"source": str(taught.path), "rows": learnt})


def _pass(options: Options, features: str, source: Source) -> Measured:
    rows = min(source.rows, PLAIN_ROWS[features])
    options.say(f"bulk: {PLAIN[features]}, {rows:,} products")
    out = options.folder / f"{features}-out"
    own = _plain(options, features, source) | {"source": str(source.path), "rows": rows, "out": str(out)}
    found = measured(plain.predict, own)
    shutil.rmtree(out)
    return found


def _add_plain(report: Report, features: str, passes: list[Measured]) -> None:
    rows, seconds = sum(one.facts["rows"] for one in passes), sum(one.seconds for one in passes)
    report.add(
        PLAIN[features],
        rows=rows,
        rate=rows / seconds,
        seconds=seconds,
        start_s=max(one.start_s for one in passes),
        cpu_s=sum(one.cpu_s for one in passes),
        peak_mib=max(one.peak_mib for one in passes),
    )


def _goals(report: Report, rows: int, few: int) -> None:
    fast = report.value(_way("linear-fast", rows), "rate")
    report.reach("linear-fast ≥ 40,000 products/s", fast, least=40_000)
    report.reach("linear-fast ≥ 75,000 products/s (stretch)", fast, least=75_000)
    for recipe, features in RIVALS.items():
        ours, theirs = report.value(_way(recipe, rows), "rate"), report.value(PLAIN[features], "rate")
        report.reach(f"{recipe} ≥ 5 × the plain way with the same features", _ratio(ours, theirs), least=5)
        large, small = (report.value(_way(recipe, size), "peak_mib") for size in (rows, few))
        report.reach(f"{recipe}: peak memory of {rows:,} products ≤ 2,048 MiB", large, most=2 * MIB)
        report.reach(
            f"{recipe}: peak memory of {rows:,} products / of {few:,}: 0.8 to 1.2",
            _ratio(large, small),
            least=0.8,
            most=1.2,
        )
    learnt, few_learnt = (min(rows, PLAIN_TAUGHT_ROWS[features]) for features in ("bigrams", "subwords"))
    taught = (
        f"Aisle's champions learnt from {min(rows, TAUGHT_ROWS):,} products that were stored and scored before; "
        f"the plain ones from {learnt:,} of them ({few_learnt:,} with character n-grams)."
    )
    passes = (
        "The plain way with a recipe's features takes a part of the file right before the recipe, and again right "
        "after: its row has both. A machine that others share changes its speed within minutes."
    )
    report.notes += [" ".join(note.split()) for note in (PLAIN_MEANS, taught, passes, PEAK_MEANS)]


def _ratio(first: float | None, second: float | None) -> float | None:
    return None if first is None or not second else first / second


def _way(recipe: str, rows: int) -> str:
    return f"Aisle {recipe}, {rows:,}"


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
