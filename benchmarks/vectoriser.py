"""(e) TextVectoriser beside scikit-learn's TfidfVectorizer: the same matrix, and how fast."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.products import SHARED, canonical, make
from benchmarks.results import Column, Report

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SETS", "compare", "run"]

SETS = {
    "newsgroups": "newsgroups/train.jsonl.gz",
    "asos": "asos/exercise_train.tsv",
    "elo7": "elo7/products.csv",
    "gpc": "mwpd_gpc/train.jsonl.gz",
    "myntra": "myntra/styles.csv",
    "amazon_india": "amazon_india/products.parquet",
}
"""Real sets: catalogue → file under the folder of real data."""
GENERATED_ROWS = 100_000
LARGEST_DIFFERENCE = 1e-6
LOAD_MS = 200.0
MILLI = 1_000.0
GENERATED = "generated"


def run(options: Options) -> Report:
    """Measure."""
    report = Report(
        "vectoriser",
        "TextVectoriser and TfidfVectorizer",
        "All text fields as one, sublinear_tf and min_df=2, float32, words and words + bigrams: the largest difference "
        "between the two matrices, seconds for each, and how much faster ours is. Loading is from Parquet tables, with "
        "the look-ups built; one text transformed included.",
        [
            Column("rows", "texts"),
            Column("features", "features"),
            Column("difference", "largest difference", ".1e"),
            Column("sklearn_fit_s", "scikit-learn fit_transform s", ",.2f"),
            Column("fit_s", "ours s", ",.2f"),
            Column("fit_ratio", "×", ",.1f"),
            Column("sklearn_transform_s", "scikit-learn transform s", ",.2f"),
            Column("transform_s", "ours s", ",.2f"),
            Column("transform_ratio", "×", ",.1f"),
            Column("load_ms", "load ms"),
        ],
        charts=(("fit_ratio", "fit_transform: times faster"), ("transform_ratio", "transform: times faster")),
    )
    source = make(options.folder, options.size(GENERATED_ROWS), seed=0)
    files = {name: (name, SHARED / "data" / path) for name, path in SETS.items()}
    files[GENERATED] = (source.catalog, source.path)
    for name, (catalog, path) in files.items():
        if not path.is_file():
            report.missing(name, "skipped: this real set is not beside the project")
            continue
        options.say(f"vectoriser: {name}")
        own = {"source": str(path), "catalog": catalog, "rows": options.rows, "times": options.repeats}
        for what, figures in measured(compare, own).facts.items():
            report.add(f"{name}, {what}", **figures)
    measured_rows = [row for row in report.rows if "difference" in row]
    report.reach("largest difference ≤ 1e-6", max(r["difference"] for r in measured_rows), most=LARGEST_DIFFERENCE)
    report.reach("slowest load ≤ 200 ms", max(r["load_ms"] for r in measured_rows), most=LOAD_MS)
    report.notes.append(f"“{GENERATED}”: {source.maker}.")
    return report


def compare(source: str, catalog: str, rows: int | None, times: int) -> Work:
    """Job: both vectorisers on the same texts."""
    import polars as pl

    spec, frame = canonical(Path(source), catalog)
    joined = frame.head(rows or frame.height).select(
        pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True).alias("text")
    )
    series = joined["text"].fill_null("")
    return lambda: {what: _compare(series, longest, times) for longest, what in ((1, "words"), (2, "words + bigrams"))}


def _compare(series: pl.Series, longest: int, times: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    from classifier.text_vectoriser import TextVectoriser

    texts = series.to_list()
    parameters: dict[str, Any] = {"sublinear_tf": True, "min_df": 2, "ngram_range": (1, longest), "dtype": np.float32}
    ours, theirs = TextVectoriser(**parameters), TfidfVectorizer(**parameters)
    yours, sklearn_fit_s = _timed(lambda: theirs.fit_transform(texts), 1)
    mine, fit_s = _timed(lambda: ours.fit_transform(series), times)
    again, sklearn_transform_s = _timed(lambda: theirs.transform(texts), 1)
    once_more, transform_s = _timed(lambda: ours.transform(series), times)
    return {
        "rows": len(texts),
        "features": mine.shape[1],
        "difference": float(max(abs(mine - yours).max(), abs(once_more - again).max())),
        "sklearn_fit_s": sklearn_fit_s,
        "fit_s": fit_s,
        "fit_ratio": sklearn_fit_s / fit_s,
        "sklearn_transform_s": sklearn_transform_s,
        "transform_s": transform_s,
        "transform_ratio": sklearn_transform_s / transform_s,
        "load_ms": _load_ms(ours, parameters, len(texts), times),
    }


def _load_ms(fitted: Any, parameters: dict[str, Any], texts_seen: int, times: int) -> float:
    import polars as pl

    from classifier.text_vectoriser import TextVectoriser

    with tempfile.TemporaryDirectory() as folder:
        for name, table in fitted.tables().items():
            table.write_parquet(Path(folder) / f"{name}.parquet")

        def load() -> Any:
            tables = {path.stem: pl.read_parquet(path) for path in Path(folder).glob("*.parquet")}
            return TextVectoriser(**parameters).restore(tables, texts_seen).transform(["a text"])

        return _timed(load, times)[1] * MILLI


def _timed(work: Any, times: int) -> tuple[Any, float]:
    """The result, and the median seconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        result = work()
        taken.append(time.perf_counter() - started)
    return result, sorted(taken)[len(taken) // 2]
