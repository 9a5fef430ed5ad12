"""Has the world moved? Current against reference products: scores with thresholds, a verdict in words, and a page.

A score is an effect size. Its threshold is the catalogue's, raised to what chance alone reaches at these sample sizes:
the pooled rows are dealt out again at random, and a score has to beat every one of those deals. There are as many deals
as keep the chance of any false alarm in a comparison at or below FALSE_ALARMS.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from reports import page
from reports.measures import Measure, measures

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, DriftSpec
    from reports.evidently_report import EvidentlyRun

__all__ = ["FALSE_ALARMS", "SCORES", "Comparison", "DriftResult", "compare", "write"]

Comparison = Literal["catalogue", "arrivals"]

FALSE_ALARMS = 0.05
"""Largest chance that a comparison of two samples of one world finds drift somewhere (Bonferroni over its measures)."""

SCORES = {
    "comparison": pl.String,
    "metric": pl.String,
    "field": pl.String,
    "method": pl.String,
    "score": pl.Float64,
    "threshold": pl.Float64,
    "drifted": pl.Boolean,
    "n_reference": pl.Int64,
    "n_current": pl.Int64,
    "seed": pl.Int64,
}
"""Columns of the scores. `score` is null where a side has no value, `drifted` where there is no verdict."""

# Shuffles are cheap: with few measures take more than the level asks for, so that the threshold is less of a lottery.
_LEAST_SHUFFLES = 200

_COMPARED = {
    "catalogue": "the current products that the model has not learnt from, against its hold-out when it was trained",
    "arrivals": "the newest arrivals against the arrivals before them",
}
_TITLES = {"catalogue": "whole catalogue", "arrivals": "arrivals"}
_METRICS = {
    "missing_share": "Missing values",
    "length": "Length in characters",
    "word_count": "Number of words",
    "words": "Words used",
    "unknown_word_share": "Words unknown to the model",
    "values": "Mix of values",
    "value": "Value",
    "label_mix": "Mix of predicted labels",
    "confidence": "Confidence",
    "review_share": "Share sent to review",
}
_METHODS = {
    "jensenshannon": "Jensen-Shannon distance",
    "hellinger": "Hellinger distance",
    "psi": "population stability index",
    "wasserstein": "Wasserstein distance",
}


@dataclass(frozen=True)
class DriftResult:
    """What one comparison found.

    Attributes:
        comparison: catalogue or arrivals.
        drifted: some score passed its threshold.
        judged: False when there were too few rows for a verdict.
        scores: one row a measure, columns SCORES.
        changes: what moved in words, one for each row of scores.
        notes: what could not be compared, and why; what was sampled.
        report: Evidently's run; None where it could not run or was not asked to.
        summary: the verdict in a sentence or two.
        seed: of sampling and shuffles.
        rows: rows given: reference, current.
    """

    comparison: Comparison
    drifted: bool
    judged: bool
    scores: pl.DataFrame
    changes: list[str]
    notes: list[str]
    report: EvidentlyRun | None
    summary: str
    seed: int
    rows: tuple[int, int]


def compare(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    spec: CatalogSpec,
    *,
    comparison: Comparison,
    seed: int,
    most_rows: int = 50_000,
    vocabulary: Mapping[str, Collection[str]] | None = None,
    evidently: bool = True,
) -> DriftResult:
    """Compare current products with reference products, field by field and in what the model made of them.

    Args:
        reference: canonical product columns, and `label`, `confidence` and `decision` where they are known. They should
            be rows that the model had not seen (hold-out or out-of-fold): it is surer of what it was trained on and
            knows all of its words, and that would be found as drift.
        current: the same columns.
        spec: the catalogue; its `drift` holds methods, thresholds and min_rows.
        comparison: which of the two comparisons this is.
        seed: of sampling and shuffles: the same rows and seed give the same scores.
        most_rows: rows compared at most on each side, sampled.
        vocabulary: known words (lower case) by text field; without it unknown words are not compared.
        evidently: also run Evidently (seconds to import), for its report.

    Nothing about the data is an error: what cannot be compared is a note, and too few rows give no verdict.
    """
    rows = (reference.height, current.height)
    notes = [
        f"Compared a sample of {most_rows:,} of {frame.height:,} {side} rows (seed {seed})"
        for side, frame in (("reference", reference), ("current", current))
        if frame.height > most_rows
    ]
    sides = (_sampled(reference, most_rows, seed), _sampled(current, most_rows, seed + 1))
    found, unable = measures(*sides, spec, vocabulary=vocabulary, seed=seed)
    judged = min(rows) >= spec.drift.min_rows
    scores = _scores(found, spec.drift, comparison=comparison, seed=seed, judged=judged)
    changes = [measure.sample.change() if min(measure.sample.sizes) else "no values to compare" for measure in found]
    report = None
    if evidently and judged:
        report, failure = _run_evidently(found, scores, tags=[spec.name, comparison])
        unable += failure
    return DriftResult(
        comparison=comparison,
        drifted=bool(scores["drifted"].any()),
        judged=judged,
        scores=scores,
        changes=changes,
        notes=[*notes, *unable],
        report=report,
        summary=_summary(scores, changes, rows, spec.drift, judged=judged),
        seed=seed,
        rows=rows,
    )


def write(
    folder: Path,
    result: DriftResult,
    *,
    catalog: str,
    run_id: str | None = None,
    model_version: str | None = None,
    made_at: datetime | None = None,
) -> Path:
    """Write drift_<comparison>.html, the same as .json, and Evidently's report beside it.

    Args:
        folder: where to; made when it is not there.
        result: what to show.
        catalog: name of the catalogue.
        run_id: the run that compared.
        model_version: whose reference and predictions these are.
        made_at: UTC; now when not given.

    Returns:
        The page.
    """
    made_at = made_at or datetime.now(UTC)
    stem = f"drift_{result.comparison}"
    evidently = None
    if result.report is not None:
        evidently = page.write_text(folder / f"{stem}_evidently.html", result.report.html()).name
    about = {"kind": "drift", "catalog": catalog, "run_id": run_id, "time": made_at.isoformat(timespec="seconds")}
    machine = {**about, **_for_machines(result), "model_version": model_version, "evidently": evidently}
    page.write_text(folder / f"{stem}.json", json.dumps(machine, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    facts = [("Catalogue", catalog), ("Model", model_version), ("Run", run_id), ("Seed", result.seed)]
    rows = _for_eyes(result)
    return page.write(
        folder / f"{stem}.html",
        "drift.html",
        title=f"Drift of {catalog}: {_TITLES[result.comparison]}",
        facts=[(name, value) for name, value in facts if value is not None],
        made_at=made_at,
        result=result,
        compared=_COMPARED[result.comparison],
        moved=sorted((row for row in rows if row["drifted"]), key=lambda row: -row["score"] / row["threshold"]),
        rows=rows,
        evidently=evidently,
        false_alarms=FALSE_ALARMS,
    )


def _for_machines(result: DriftResult) -> dict[str, Any]:
    scores = zip(result.scores.to_dicts(), result.changes, strict=True)
    return {
        "verdict": _verdict(result),
        "tone": "bad" if result.drifted else "good" if result.scores["drifted"].count() else "quiet",
        "comparison": result.comparison,
        "drifted": result.drifted if result.scores["drifted"].count() else None,
        "judged": result.judged,
        "summary": result.summary,
        "rows": {"reference": result.rows[0], "current": result.rows[1]},
        "seed": result.seed,
        "notes": result.notes,
        "scores": [{**row, "change": change} for row, change in scores],
    }


def _for_eyes(result: DriftResult) -> list[dict[str, Any]]:
    scores = zip(result.scores.to_dicts(), result.changes, strict=True)
    return [{**row, "said": said, "title": _title(row), "how": _METHODS[row["method"]]} for row, said in scores]


def _sampled(frame: pl.DataFrame, most_rows: int, seed: int) -> pl.DataFrame:
    return frame.sample(most_rows, seed=seed) if frame.height > most_rows else frame


def _scores(
    found: Sequence[Measure], drift: DriftSpec, *, comparison: Comparison, seed: int, judged: bool
) -> pl.DataFrame:
    shuffles = max(_LEAST_SHUFFLES, math.ceil(len(found) / FALSE_ALARMS))
    rows = []
    for measure in found:
        sizes = measure.sample.sizes
        threshold, score, drifted = drift.thresholds[measure.kind], None, None
        if min(sizes) > 0:
            score = measure.sample.score(measure.method)
        if score is not None and judged:
            # Each measure its own stream of chance: one more field must not change the others' thresholds.
            rng = np.random.default_rng([seed, zlib.crc32(f"{measure.metric} {measure.field}".encode())])
            by_chance = measure.sample.null(measure.method, shuffles=shuffles, rng=rng).max()
            threshold = max(threshold, float(by_chance))
            drifted = score > threshold
        names = (comparison, measure.metric, measure.field, measure.method)
        rows.append((*names, score, threshold, drifted, *sizes, seed))
    return pl.DataFrame(rows, schema=SCORES, orient="row")


def _run_evidently(
    found: Sequence[Measure], scores: pl.DataFrame, tags: Sequence[str]
) -> tuple[EvidentlyRun | None, list[str]]:
    from reports import evidently_report

    judged = [
        (measure, threshold)
        for measure, threshold, drifted in zip(found, scores["threshold"], scores["drifted"], strict=True)
        if drifted is not None
    ]
    try:
        return evidently_report.run(judged, tags), []
    except Exception as error:  # noqa: BLE001 - the verdict stands without Evidently's pictures; the page says what failed
        return None, [f"Evidently's report could not be made: {type(error).__name__}: {page.cut(error, 200)}"]


def _summary(
    scores: pl.DataFrame, changes: Sequence[str], rows: tuple[int, int], drift: DriftSpec, *, judged: bool
) -> str:
    if not judged:
        fewest = "reference" if rows[0] <= rows[1] else "current"
        return f"No verdict: {min(rows):,} {fewest} rows, and a verdict needs {drift.min_rows:,} on each side."
    compared = scores["drifted"].count()
    if not compared:
        return "No verdict: nothing could be compared."
    said = scores.with_columns(change=pl.Series(changes, dtype=pl.String)).filter(pl.col("drifted"))
    if said.is_empty():
        return f"No drift: none of {compared} measures passed its threshold."
    strongest = said.sort(pl.col("score") / pl.col("threshold"), descending=True).head(3)
    named = "; ".join(
        f"{_title(row)} ({row['score']:.2f}, threshold {row['threshold']:.2f}: {row['change']})"
        for row in strongest.iter_rows(named=True)
    )
    return f"Drift: {said.height} of {compared} measures passed their thresholds. Furthest beyond: {named}."


def _title(row: Mapping[str, Any]) -> str:
    """A measure in words: `words used (title)`."""
    of_the_model = row["metric"] in {"label_mix", "confidence", "review_share"}
    return _METRICS[row["metric"]] + ("" if of_the_model else f" ({row['field']})")


def _verdict(result: DriftResult) -> str:
    if not result.judged or not result.scores["drifted"].count():
        return "no verdict"
    moved, compared = int(result.scores["drifted"].sum()), result.scores["drifted"].count()
    return f"drift in {moved} of {compared} measures" if result.drifted else f"no drift in {compared} measures"
