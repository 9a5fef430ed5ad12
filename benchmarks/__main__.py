"""The command behind `scripts/bench`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    accuracy,
    api,
    bulk,
    calibration,
    drift,
    fields,
    gate,
    incremental,
    labels,
    paths,
    review,
    runners,
    single,
    solvers,
    training,
    vectoriser,
)
from benchmarks.machine import describe
from benchmarks.options import Options
from benchmarks.results import Report, write

BENCHMARKS: dict[str, tuple[Callable[[Options], Report], str]] = {
    "vectoriser": (vectoriser.run, "TextVectoriser beside TfidfVectorizer: same matrix? how much faster?"),
    "single": (single.run, "milliseconds for one product, beside pipeline.predict([text])"),
    "solvers": (solvers.run, "LinearSVC, AdaGrad and averaged SGD: accuracy and seconds"),
    "accuracy": (accuracy.run, "the recipes on the real sets, beside TfidfVectorizer and LinearSVC"),
    "fields": (fields.run, "what each field of a catalogue is worth"),
    "calibration": (calibration.run, "what confidences mean, and whether what is accepted is as precise as asked"),
    "drift": (drift.run, "drift detectors: false alarms, power, and a million products in one look"),
    "gate": (gate.run, "what the gate tells from luck, on hold-outs of several sizes"),
    "paths": (paths.run, "labels that are paths, beside a flat classifier and hiclass"),
    "review": (review.run, "what labels are worth by how their products were chosen: `aisle review export`"),
    "labels": (labels.run, "text to labels in memory, beside scikit-learn and fastText"),
    "training": (training.run, "`aisle train` beside scikit-learn and fastText (1.25 million products)"),
    "api": (api.run, "requests a second of `aisle serve`, its latency, memory and start, beside FastAPI + joblib"),
    "bulk": (bulk.run, "a file to predictions in SQL, and the peak memory (1.25 million products)"),
    "incremental": (incremental.run, "a file of which 1 % changed, and a rollback (1.25 million products)"),
    "runners": (runners.run, "scoring by threads, processes and a local Dask cluster"),
}
RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that were asked for; 1 when one of them could not be run to its end."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended from outside"))  # not without its child and files
    if asked.temporary is not None:
        asked.temporary.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in asked.names or BENCHMARKS:
        machine = describe()
        with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.temporary) as folder:
            options = Options(Path(folder), asked.rows, asked.repeats, asked.minutes)
            try:
                report = BENCHMARKS[name][0](options)
            except Exception as error:  # noqa: BLE001 - the others are still worth having
                print(f"bench: {name} failed: {error}", file=sys.stderr)
                failed.append(name)
                continue
        write(report, asked.results, machine)
        print((asked.results / f"{name}.md").read_text())
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, BENCHMARKS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, (_, what) in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure Aisle beside its rivals, on the same rows and two cores; write a table and a plot.",
        epilog=f"benchmarks:\n{listed}\n\n"
        "examples:\n"
        "  scripts/bench                        all, at full size: 90 minutes, 12 GiB of memory, 10 GB of disk\n"
        "  scripts/bench single vectoriser      these two\n"
        "  scripts/bench bulk --rows 50000      a quick look\n\n"
        "fastText is measured where its command is installed (Debian: apt-get install fasttext), the API where wrk is\n"
        "(apt-get install wrk), hiclass and MAPIE where they are (pip install hiclass mapie). Real sets are used\n"
        "where they lie beside the project (../shared/data); a row that could not be measured says so. Nothing else\n"
        "should run meanwhile: the results say how busy the machine was.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    parser.add_argument("--rows", type=int, metavar="N", help="products, instead of each benchmark's own size")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="passes of what is cheap (default: 3)")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="load on the API (default: 10)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="default: benchmarks/results")
    parser.add_argument("--temporary", type=Path, metavar="FOLDER", help="where there is room (default: the system's)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
