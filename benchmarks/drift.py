"""Drift detectors: false alarms and power on real sets, myntra year by year, and a million products in one look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import pipeline, plain_drift
from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.products import SHARED, make
from benchmarks.results import Column, Report

__all__ = ["monitor", "run", "years"]

SETS = {
    "myntra": "myntra/styles.csv",
    "amazon_india": "amazon_india/products.parquet",
}
"""Real sets with enough products to draw from, with keyword fields and without."""

TRIALS = 100
FEW_TRIALS = 10
ROWS = 1_000_000
TAUGHT_ROWS = 100_000
FALSE_ALARMS, POWER = 0.05, 0.95
YEARS = (2010, 2012, 2013, 2015)
TAUGHT_YEAR = 2011


def run(options: Options) -> Report:
    """Measure."""
    report = Report(
        "drift",
        "Drift detectors",
        f"`aisle monitor CATALOG --self-test` on real sets, {_trials(options)} trials of each kind: how often an alarm "
        "came when nothing had changed, with products drawn at random and as increments come, and when drift was put "
        f"in. Then fashion products of other years beside those of {TAUGHT_YEAR} (myntra), and the time and memory of "
        "one look at a million products, beside Evidently alone on all of them.",
        [
            Column("rows", "products"),
            Column("trials", "trials"),
            Column("share", "alarms", ".0%"),
            Column("label_mix", "label mix", ".3f"),
            Column("words", "words", ".3f"),
            Column("at_equal_labels", "words at equal labels", ".3f"),
            Column("seconds", "seconds", ",.1f"),
            Column("peak_mib", "peak MiB"),
            Column("said", "most often, or in words"),
        ],
        charts=(("share", "share of trials with an alarm"),),
    )
    for catalog, source in SETS.items():
        if (SHARED / "data" / source).is_file():
            _tested(report, options, catalog, SHARED / "data" / source)
        else:
            report.missing(catalog, "skipped: this real set is not beside the project")
    styles = SHARED / "data" / SETS["myntra"]
    if styles.is_file():
        options.say("drift: myntra year by year")
        found = measured(years, {"source": str(styles)})
        for row in found.facts["years"]:
            report.add(f"myntra {TAUGHT_YEAR} → {row.pop('year')}", **row)
    _million(report, options)
    return report


def _tested(report: Report, options: Options, catalog: str, source: Path) -> None:
    options.say(f"drift: testing the detectors on {catalog}")
    home = options.folder / f"home-{catalog}"
    asked = {"source": str(source), "catalog": catalog, "trials": _trials(options)}
    found = measured(pipeline.self_test, asked, home=home)
    quiet: list[dict[str, Any]] = []
    power: list[dict[str, Any]] = []
    for trial in found.facts["trials"]:
        what = f"{trial['drift']} ({trial['drawn']})" if trial["drift"] else f"nothing, {trial['drawn']}"
        rows = f", {trial['rows']:,} products" if trial["drift"] is None else ""
        report.add(
            f"{catalog}, {trial['comparison']}: {what}{rows}",
            **{name: trial[name] for name in ("rows", "trials", "share")},
            said=trial["named"],
        )
        (power if trial["drift"] else quiet).append(trial)
    met = sum(trial["met"] for trial in quiet)
    report.reach(f"{catalog}: ways in which more than 5 % false alarms are shown", len(quiet) - met, most=0)
    most = max((trial["share"] for trial in quiet), default=None)
    report.reach(f"{catalog}: false alarms in ≤ 5 % of the trials, the way with the most", most, most=FALSE_ALARMS)
    weakest = min((trial["share"] for trial in power), default=None)
    report.reach(f"{catalog}: drift found in ≥ 95 % of the trials, the weakest kind", weakest, least=POWER)


def _trials(options: Options) -> int:
    return TRIALS if options.rows is None else FEW_TRIALS


def _million(report: Report, options: Options) -> None:
    rows = options.size(ROWS)
    options.say(f"drift: making {rows:,} products")
    source, taught = (make(options.folder, size, seed=seed) for size, seed in ((rows, 0), (min(rows, TAUGHT_ROWS), 1)))
    home = options.folder / "home"
    options.say("drift: training and scoring")
    arguments: dict[str, Any] = {"catalog": source.catalog, "taught": str(taught.path), "source": str(source.path)}
    measured(pipeline.night, arguments, home=home)
    options.say(f"drift: one look at {rows:,} products")
    own = measured(monitor, {"catalog": source.catalog}, home=home)
    way = f"Aisle: monitor after {rows:,} arrivals"
    report.add(way, rows=rows, seconds=own.seconds, peak_mib=own.peak_mib, said="sampled, seeded: both comparisons")
    options.say("drift: Evidently on all rows")
    theirs = measured(
        plain_drift.compare, {"taught": str(taught.path), "source": str(source.path), "columns": source.columns}
    )
    report.add(f"Evidently on {rows:,} rows", rows=rows, seconds=theirs.seconds, peak_mib=theirs.peak_mib)
    report.reach(f"{rows:,} products in ≤ 60 s", own.seconds, most=60)
    report.reach(f"{rows:,} products in ≤ 2,048 MiB", own.peak_mib, most=2048)


def monitor(catalog: str) -> Work:
    """One look at everything that is stored: both comparisons, with their pages."""
    from flows.monitor import monitor as flow

    def work() -> dict[str, Any]:
        return {"summary": flow.fn(catalog).summary}

    return work


def years(source: str) -> Work:
    """Products of one year beside those of others, their own labels in the place of predictions."""
    from catalogs import registry
    from reports import drift

    spec = registry.load("myntra")
    raw = pl.read_csv(source, infer_schema=False, truncate_ragged_lines=True)
    label = pl.concat_str("masterCategory", "subCategory", "articleType", separator=" > ")
    styles = raw.select("gender", "usage", "year", name="productDisplayName", colour="baseColour", label=label)

    def of(year: int) -> pl.DataFrame:
        return styles.filter(pl.col("year") == f"{year}.0")

    def compared(year: int | str, before: pl.DataFrame, now: pl.DataFrame) -> dict[str, Any]:
        found = drift.compare(before, now, spec, comparison="catalogue", seed=0, most_rows=10_000, pictures=False)
        scores = {row["metric"]: row["score"] for row in found.scores.iter_rows(named=True)}
        return {
            "year": year,
            "rows": now.height,
            "label_mix": scores["label_mix"],
            "words": scores["words"],
            "at_equal_labels": scores["words_at_equal_labels"],
            "said": drift.mix_or_words(found.scores) or "neither moved",
        }

    def work() -> dict[str, Any]:
        before = of(TAUGHT_YEAR)
        found = [compared(year, before, of(year)) for year in YEARS]
        halves = before.sample(before.height, shuffle=True, seed=0)
        half = before.height // 2
        found.append(compared(f"{TAUGHT_YEAR}, its other half", halves[:half], halves[half:]))
        # Only the mix is another one: products of one year, the most frequent label three times as often.
        commonest = before["label"].value_counts(sort=True)["label"][0]
        more = before.filter(pl.col("label") == commonest)
        found.append(
            compared(f"{TAUGHT_YEAR} with more {commonest}", halves[:half], pl.concat([halves[half:], more, more]))
        )
        return {"years": found}

    return work
