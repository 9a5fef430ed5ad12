"""Who works on the partitions of a scoring: threads, processes, or a local Dask cluster."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Any

from benchmarks import pipeline
from benchmarks.measure import measured
from benchmarks.options import Options
from benchmarks.products import make
from benchmarks.results import Column, Report

__all__ = ["run"]

ROWS = 250_000
TAUGHT_ROWS = 50_000
RUNNERS = ("threads", "processes", "dask")


def run(options: Options) -> Report:
    """Measure."""
    rows = options.size(ROWS)
    few = min(rows, TAUGHT_ROWS)
    options.say(f"runners: making {rows:,} products")
    source = make(options.folder, rows, seed=0)
    taught = make(options.folder, few, seed=2)
    report = Report(
        "runners",
        "Threads, processes and Dask",
        f"`aisle score` of {rows:,} stored products ({source.maker}) with linear-fast, by what AISLE_RUNNER names, two "
        "workers each. Seconds include what it takes to start the workers, to load libraries and model in each, and to "
        "end them. Peak memory is that of all processes together; pages that they share count for each.",
        [
            Column("rows", "products"),
            Column("seconds", "seconds", ",.1f"),
            Column("rate", "products/s"),
            Column("cpu_s", "processor s", ",.1f"),
            Column("peak_mib", "peak MiB"),
        ],
        charts=(("seconds", "seconds"), ("peak_mib", "peak memory, MiB")),
        ours=RUNNERS,
        notes=[
            "Dask is for more machines than one, whose figures would be others.",
            "Where other work ran beside it (the load is below), seconds say little, and processor seconds more.",
        ],
    )
    home, kept = options.folder / "home", options.folder / "kept"
    own: dict[str, Any] = {"catalog": source.catalog}
    options.say(f"runners: training on {few:,} products")
    teach = own | {"source": str(taught.path), "recipes": ["linear-fast"], "into": str(options.folder)}
    measured(pipeline.prepare, teach, home=kept)
    measured(pipeline.store, own | {"source": str(source.path)}, home=kept)
    for runner in RUNNERS:
        if runner == "dask" and find_spec("distributed") is None:
            report.missing(runner)
            continue
        options.say(f"runners: {runner}")
        shutil.copytree(kept, home)
        found = measured(pipeline.score, own, home=home, settings={"AISLE_RUNNER": runner})
        shutil.rmtree(home)
        report.add(
            runner,
            rate=found.facts["rows"] / found.seconds,
            seconds=found.seconds,
            cpu_s=found.cpu_s,
            peak_mib=found.peak_mib,
            **found.facts,
        )
    return report
