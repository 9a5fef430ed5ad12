"""What a night costs when little has changed, and what a rollback does: beside the first run of the same products."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from benchmarks import pipeline
from benchmarks.measure import Measured, measured
from benchmarks.options import Options
from benchmarks.products import Source, make
from benchmarks.results import Column, Report

__all__ = ["run"]

ROWS = 1_250_000
TAUGHT_ROWS = 50_000
"""Products that both models have learnt from; they are stored and scored before the first run."""
CHANGED_SHARE = 0.01
RECIPES = ("linear", "linear-fast")
"""v1, and v2: the champion."""
MOST_SHARE = 0.25
"""Of the first run's seconds, for a file of which CHANGED_SHARE has changed."""
ROLLBACK_S = 10.0

FIRST, AGAIN, SAME = "first run", "1 % changed", "the same file again"
OTHER, BACK, PUBLISH = "another champion: all scored again", "aisle models rollback", "publish alone"
NIGHT, BACK_LATER = "under that champion, 1 % more changed", "aisle models rollback, a night later"


def run(options: Options) -> Report:
    """Measure."""
    rows = options.size(ROWS)
    few = min(rows, TAUGHT_ROWS)
    options.say(f"incremental: making {rows:,} products")
    source = make(options.folder, rows, seed=0)
    taught = make(options.folder, few, seed=2)
    again, changed = _changed(source.path, options.folder / "again.jsonl", seed=0)
    home = options.folder / "home"
    options.say(f"incremental: training two models on {few:,} products")
    own: dict[str, Any] = {"catalog": source.catalog}
    measured(
        pipeline.prepare,
        own | {"source": str(taught.path), "recipes": RECIPES, "into": str(options.folder)},
        home=home,
    )
    for recipe in RECIPES:
        shutil.rmtree(options.folder / recipe)
    report = _report(source, few, changed)
    for way, path in ((FIRST, source.path), (AGAIN, again), (SAME, again)):
        options.say(f"incremental: {way}")
        _add(report, way, measured(pipeline.ingest_and_score, own | {"source": str(path)}, home=home))
    options.say(f"incremental: {OTHER}")
    _add(report, OTHER, measured(pipeline.promote_and_score, own | {"version": "v1"}, home=home))
    options.say(f"incremental: {BACK}")
    _add(report, BACK, measured(pipeline.rollback, own, home=home))
    options.say(f"incremental: {NIGHT}")
    measured(pipeline.promote_and_score, own | {"version": "v1"}, home=home)
    later, _ = _changed(again, options.folder / "later.jsonl", seed=1)
    _add(report, NIGHT, measured(pipeline.ingest_and_score, own | {"source": str(later)}, home=home))
    options.say(f"incremental: {BACK_LATER}")
    _add(report, BACK_LATER, measured(pipeline.rollback, own, home=home))
    _add(report, PUBLISH, measured(pipeline.publish, {}, home=home, repeats=options.repeats))
    _goals(report, changed)
    return report


def _report(source: Source, few: int, changed: int) -> Report:
    return Report(
        "incremental",
        "What follows what changed",
        f"{source.rows:,} products ({source.maker}) in a home that holds {few:,} others already: ingest and score, "
        f"with linear-fast. Then the same file with another word in {changed:,} of its lines, drawn at random; then "
        "that file once more. Then another model becomes champion and answers for all; then the first takes its place "
        "again, by `aisle models rollback`, whose seconds include its imports. Then the other one once more, and a "
        "night in which other lines change, before the first takes its place. Each in a process of its own.",
        [
            Column("rows", "rows read"),
            Column("scored", "scored"),
            Column("seconds", "seconds", ",.1f"),
            Column("ratio", "of the first run", ".2f"),
            Column("ingest_s", "of it ingest", ",.1f"),
            Column("score_s", "of it score", ",.1f"),
            Column("start_s", "start-up s", ",.1f"),
            Column("cpu_s", "processor s", ",.1f"),
            Column("cpu_ratio", "of the first run's", ".2f"),
            Column("peak_mib", "peak MiB"),
        ],
        charts=(("seconds", "seconds"), ("peak_mib", "peak memory, MiB")),
        ours=(FIRST, AGAIN, SAME, OTHER, BACK, NIGHT, BACK_LATER, PUBLISH),
        notes=["Where other work ran beside it (the load is below), seconds say little, and processor seconds more."],
    )


def _changed(source: Path, path: Path, seed: int) -> tuple[Path, int]:
    """Write the file again with another title in CHANGED_SHARE of its lines; returns how many."""
    chance, changed = random.Random(seed), 0
    with source.open("rb") as lines, path.open("wb") as out:
        for line in lines:
            if chance.random() < CHANGED_SHARE and (record := _record(line)) is not None:
                record["title"] = f"{record.get('title') or ''} refurbished".strip()
                out.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
                changed += 1
            else:
                out.write(line)
    return path, changed


def _record(line: bytes) -> dict[str, Any] | None:
    """The product of a line; None where it is broken."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _add(report: Report, way: str, found: Measured) -> None:
    own = {"seconds": found.seconds, "start_s": found.start_s, "cpu_s": found.cpu_s, "peak_mib": found.peak_mib}
    report.add(way, **own, **found.facts)


def _goals(report: Report, changed: int) -> None:
    for name, key in (("ratio", "seconds"), ("cpu_ratio", "cpu_s")):
        base = report.value(FIRST, key)
        for row in report.rows:
            row[name] = row[key] / base if base else None
    report.reach(f"1 % changed: at most {MOST_SHARE} of the first run", report.value(AGAIN, "ratio"), most=MOST_SHARE)
    scored = report.value(AGAIN, "scored")
    report.reach("1 % changed: scored / lines changed", None if scored is None else scored / max(changed, 1), most=1)
    report.reach("the same file again: scored", report.value(SAME, "scored"), most=0)
    for way in (BACK, BACK_LATER):
        report.reach(f"{way}: ≤ {ROLLBACK_S:g} s", report.value(way, "seconds"), most=ROLLBACK_S)
