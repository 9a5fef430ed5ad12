"""(e) The online API under load."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import pipeline, plain
from benchmarks.load import Load, Served, installed, press, serving
from benchmarks.measure import measured
from benchmarks.options import Options
from benchmarks.products import Columns, Source, make, records
from benchmarks.results import Column, Report

__all__ = ["run"]

TAUGHT_ROWS = 50_000
ASKED = 4_000
BATCH = 1_000
SINGLE_CONNECTIONS = 16
BATCH_CONNECTIONS = 4
LOAD_S = 10.0
WARM_S = 2.0
SETTLED = 0.1
"""Share of the long load after which memory must not grow: buffers, caches and arenas have their size by then."""
RECIPES = ("linear-fast", "linear")
STARTS = 5
NO_WRK = "not installed: wrk"
RIVAL = "plain: FastAPI + joblib"

MEANS = """“Single” is one product a request over 16 connections, “batches” are lists of {batch:,} over 4. Aisle's
answers carry label, path, confidence, decision, runner-up and reasons (“labels only”: no reasons); the rival's a label.
“Cores taken by others” is the share that neither server nor wrk took but other processes, in the worst of the loads."""
SHARES = """wrk takes its part of the same cores: more of two workers than of one, so two can never be twice as fast
here, and latency at 16 connections holds the time that requests wait for each other."""


@dataclass(frozen=True)
class Bodies:
    """Files of requests, a body a line."""

    single: Path
    batch: Path
    both: Path


def run(options: Options) -> Report:
    """Measure."""
    rows = options.size(TAUGHT_ROWS)
    taught, asked = make(options.folder, rows, seed=0), make(options.folder, min(rows, ASKED), seed=1)
    batch = min(BATCH, asked.rows // 2)  # some of a small file cannot be asked
    report = Report(
        "api",
        "The API under load",
        f"Requests a second and milliseconds of `aisle serve`, on loopback, by wrk on the same cores: {asked.rows:,} "
        f"products ({asked.maker}) in turn, by models that learnt from {taught.rows:,} others. The rival is FastAPI as "
        "published solutions write it: a plain `def`, a pydantic body, TfidfVectorizer (words + bigrams) and LinearSVC "
        "from joblib, asked for the same texts. Median of several loads.",
        [
            Column("requests", "requests/s"),
            Column("products", "products/s"),
            Column("p50_ms", "median ms", ",.1f"),
            Column("p99_ms", "99th percentile ms", ",.1f"),
            Column("ready_s", "start to first answer s", ",.2f"),
            Column("resident_mib", "memory MiB"),
            Column("grown_mib", "grown by MiB", "+,.1f"),
            Column("others", "cores taken by others", ".0%"),
        ],
        charts=(("requests", "requests/s"), ("products", "products/s"), ("p99_ms", "99th percentile, ms")),
    )
    options.say(f"api: training on {taught.rows:,} products")
    home = options.folder / "home"
    arguments = {"source": str(taught.path), "catalog": taught.catalog, "recipes": RECIPES}
    measured(pipeline.prepare, arguments | {"into": str(options.folder)}, home=home)
    shutil.rmtree(home)
    bodies = _bodies(options.folder, "aisle", (product for product, _ in _asked(asked)), batch, wrapped=True)
    for recipe in RECIPES:
        _ours(report, options, recipe, asked.catalog, bodies, batch)
    _long(report, options, RECIPES[-1], asked.catalog, bodies)
    _rival(report, options, taught, asked, batch)
    _goals(report, options, batch)
    return report


def _ours(report: Report, options: Options, recipe: str, catalog: str, bodies: Bodies, batch: int) -> None:
    path = f"/v1/catalogs/{catalog}/predictions"
    for workers in (1, 2):
        name = f"Aisle {recipe}, {'one worker' if workers == 1 else 'two workers'}"
        with _aisle(options, recipe, path, bodies, workers) as served:
            for kind, query in (("", ""), (", labels only", "?reasons=false")):
                options.say(f"api: {name}{kind}")
                _press(report, options, f"{name}: single{kind}", served, path + query, bodies.single, 1)
                _press(report, options, f"{name}: batches{kind}", served, path + query, bodies.batch, batch)
    starts = []
    for _ in range(min(STARTS, options.repeats + 2)):
        with _aisle(options, recipe, path, bodies, 1) as served:
            starts.append((served.ready_s, served.resident_mib()))
    ready_s, resident = sorted(starts)[len(starts) // 2]
    report.add(f"Aisle {recipe}, one worker: started", ready_s=ready_s, resident_mib=resident)


def _long(report: Report, options: Options, recipe: str, catalog: str, bodies: Bodies) -> None:
    way = f"Aisle {recipe}, one worker: {options.minutes:g} minutes of both"
    options.say(f"api: {way}")
    if not installed():
        report.missing(way, NO_WRK)
        return
    path = f"/v1/catalogs/{catalog}/predictions"
    with _aisle(options, recipe, path, bodies, 1) as served:
        found = press(served, path, bodies.both, options.minutes * 60, SINGLE_CONNECTIONS)
    resident = found.resident_mib
    row = report.add(way, requests=found.per_s, p50_ms=found.p50_ms, p99_ms=found.p99_ms, others=found.others)
    if len(resident) > 2:
        settled = resident[int(len(resident) * SETTLED) :]
        tenth = max(len(settled) // 10, 1)  # garbage comes and goes: a tenth of the time against another
        before, after = statistics.median(settled[:tenth]), statistics.median(settled[-tenth:])
        row |= {"resident_mib": after, "grown_mib": after - before}
        report.notes.append(
            f"Memory over {options.minutes:g} minutes of singles and batches mixed: {resident[0]:,.0f} MiB after a "
            f"second, {before:,.0f} after a tenth of the time, {after:,.0f} at the end, at most {max(resident):,.0f}."
        )


def _rival(report: Report, options: Options, taught: Source, asked: Source, batch: int) -> None:
    options.say(f"api: {RIVAL}")
    model = options.folder / "rival.joblib"
    own = {"source": str(taught.path), "columns": taught.columns, "features": "bigrams"}
    measured(plain.fit, own | {"rows": taught.rows, "model": str(model)})
    bodies = _bodies(options.folder, "rival", ({"text": text} for _, text in _asked(asked)), batch, wrapped=False)
    command = ["-m", "uvicorn", "benchmarks.rival_api:app", "--no-access-log"]
    with serving(command, "/predict", _first(bodies.single), {"MODEL": str(model)}) as served:
        report.add(f"{RIVAL}: started", ready_s=served.ready_s, resident_mib=served.resident_mib())
        _press(report, options, f"{RIVAL}: single", served, "/predict", bodies.single, 1)
        _press(report, options, f"{RIVAL}: batches", served, "/predict_many", bodies.batch, batch)


def _aisle(options: Options, recipe: str, path: str, bodies: Bodies, workers: int) -> Any:
    command = ["-m", "aisle", "serve", "--workers", str(workers)]
    return serving(command, path, _first(bodies.single), {"AISLE_HOME": str(options.folder / recipe)})


def _press(report: Report, options: Options, way: str, served: Served, path: str, bodies: Path, products: int) -> None:
    """A row: the median of several loads."""
    if not installed():
        report.missing(way, NO_WRK)
        return
    connections = SINGLE_CONNECTIONS if products == 1 else BATCH_CONNECTIONS
    seconds = min(LOAD_S, options.minutes * 60)
    press(served, path, bodies, min(WARM_S, seconds), connections)
    loads = [press(served, path, bodies, seconds, connections) for _ in range(options.repeats)]
    found = _median(loads)
    report.add(
        way,
        requests=found.per_s,
        products=found.per_s * products,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        resident_mib=served.resident_mib(),
        others=found.others,
    )


def _median(loads: list[Load]) -> Load:
    middle = sorted(loads, key=lambda load: load.per_s)[len(loads) // 2]
    known = [load.others for load in loads if load.others is not None]
    return replace(middle, others=max(known, default=None))


def _asked(source: Source) -> Iterator[tuple[dict[str, Any], str]]:
    """What clients send of each record that can be answered: id and fields without the label; and its text alone."""
    from catalogs import registry
    from catalogs.asked import product_problems

    spec, columns = registry.load(source.catalog), Columns(**source.columns)
    keys = [*([spec.id] if spec.id else []), *(field.column for field in spec.fields)]
    for record in records(source.path):
        if not product_problems(record, spec):
            yield {key: record[key] for key in keys if key in record}, columns.text_of(record)


def _bodies(folder: Path, name: str, products: Iterable[Any], batch: int, *, wrapped: bool) -> Bodies:
    """Write products as bodies; a single one is a list of one where that is what the route takes."""
    made = Bodies(*(folder / f"{name}-{kind}.jsonl" for kind in ("single", "batch", "both")))
    rest = iter(products)
    with made.single.open("w") as single, made.batch.open("w") as batches, made.both.open("w") as both:
        while found := list(islice(rest, batch)):
            lines = [json.dumps([one] if wrapped else one) + "\n" for one in found]
            many = json.dumps(found) + "\n"
            single.writelines(lines)
            batches.write(many if len(found) == batch else "")
            both.writelines([*lines, many])
    return made


def _first(bodies: Path) -> bytes:
    with bodies.open("rb") as lines:
        return next(lines).strip()


def _goals(report: Report, options: Options, batch: int) -> None:
    for recipe in RECIPES:
        one, two = f"Aisle {recipe}, one worker", f"Aisle {recipe}, two workers"
        single = report.value(f"{one}: single", "requests")
        report.reach(f"{recipe}: ≥ 1,500 single predictions/s, one worker", single, least=1_500)
        report.reach(f"{recipe}: 99th percentile of them ≤ 25 ms", report.value(f"{one}: single", "p99_ms"), most=25)
        for workers, ours in (("one worker", one), ("two workers", two)):
            for also in ("", ", labels only"):
                many = report.value(f"{ours}: batches{also}", "products")
                report.reach(f"{recipe}: ≥ 40,000 products/s in batches{also}, {workers}", many, least=40_000)
        for kind in ("single", "batches"):
            alone, both = (report.value(f"{ours}: {kind}", "requests") for ours in (one, two))
            times = both / alone if alone and both else None
            report.reach(f"{recipe}: two workers ≥ 1.7 × one, {kind}", times, least=1.7)
        report.reach(f"{recipe}: ready ≤ 3 s", report.value(f"{one}: started", "ready_s"), most=3)
    long = f"Aisle {RECIPES[-1]}, one worker: {options.minutes:g} minutes of both"
    held, grown = report.value(long, "resident_mib"), report.value(long, "grown_mib")
    flat = None if held is None or grown is None else grown / (held - grown)
    report.reach("memory grows by ≤ 5 % after the first tenth of the long load", flat, most=0.05)
    report.notes += [" ".join(note.split()) for note in (MEANS.format(batch=batch), SHARES)]
