"""Has the world moved? Current against reference products: scores with thresholds, and a verdict in words.

A score is an effect size. Its threshold is the catalogue's, raised to what is reached at these sample sizes when
nothing has changed. For a whole catalogue that is chance: the pooled rows are dealt out again at random, and a score
has to beat every one of those deals, of which there are as many as keep the chance of any false alarm in a comparison
at or below FALSE_ALARMS. For arrivals it is what ordinary increments reach: `reports.increments`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from reports import increments, page
from reports.measures import LABEL, OF_NO_FIELD, REJECTED, Knowledge, Measure, measures
from reports.outliers import Outliers, outliers

if TYPE_CHECKING:
    from catalogs.policies import DriftSpec
    from catalogs.spec import CatalogSpec
    from reports.evidently_report import EvidentlyRun

__all__ = ["FALSE_ALARMS", "SCORES", "Comparison", "DriftResult", "beyond", "compare", "mix_or_words", "title"]

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

# The largest score that there is, by method.
_MOST = {"jensenshannon": math.sqrt(math.log(2)), "hellinger": 1.0, "new_share": 1.0}

# Shuffles are cheap: with few measures take more than the level asks for, so that the threshold is less of a lottery.
_LEAST_SHUFFLES = 200

_METRICS = {
    "missing_share": "Missing values",
    "length": "Length in characters",
    "word_count": "Number of words",
    "language": "Language",
    "words": "Words used",
    "new_word_share": "Words never used before",
    "unknown_word_share": "Words unknown to the model",
    "words_at_equal_labels": "Words used, at equal labels",
    "values": "Mix of values",
    "new_value_share": "Values never seen before",
    "value": "Value",
    "embedding_distance": "Distance from the nearest cluster",
    "embedding_beyond": "Products beyond their cluster",
    "rejected_share": "Rejected rows",
    "label_mix": "Mix of predicted labels",
    "confidence": "Confidence",
    "review_share": "Share sent to review",
    "right_share": "Right predictions",
    "known_and_predicted": "Known label, and what it is taken for",
}


@dataclass(frozen=True)
class DriftResult:
    """What one comparison found.

    Attributes:
        comparison: catalogue or arrivals.
        drifted: some score is beyond its threshold.
        judged: False when there were too few rows for a verdict.
        scores: one row a measure, columns SCORES.
        changes: what moved in words, one for each row of scores.
        notes: what could not be compared, and why; what was sampled.
        report: Evidently's run; None where it could not run or was not asked to.
        outliers: where products lie, and the most distant ones; None without an embedding.
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
    outliers: Outliers | None = None


def compare(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    spec: CatalogSpec,
    *,
    comparison: Comparison,
    seed: int,
    most_rows: int = 50_000,
    knowledge: Knowledge | None = None,
    more: Sequence[Measure] = (),
    pictures: bool = True,
) -> DriftResult:
    """Compare current products with reference products, field by field and in what the model made of them.

    Args:
        reference: canonical product columns, and `label`, `confidence` and `decision` where they are known; with
            `known_path` what the model said is compared with what is right. They should be rows that the model had not
            seen (hold-out or out-of-fold): it is surer of what it was trained on and knows all of its words, and that
            would be found as drift.
        current: the same columns.
        spec: the catalogue; its `drift` holds methods, thresholds and min_rows.
        comparison: which of the two comparisons this is.
        seed: of sampling and shuffles: the same rows and seed give the same scores.
        most_rows: rows compared at most on each side, sampled.
        knowledge: what the model knows of texts; without it unknown words and embeddings are not compared.
        more: what else to compare: measures of no product.
        pictures: also run Evidently (seconds to import) and place every product, for the report.

    Nothing about the data is an error: what cannot be compared is a note, and too few rows give no verdict.
    """
    rows = (reference.height, current.height)
    notes = [
        f"Compared a sample of {most_rows:,} of {frame.height:,} {side} rows (seed {seed})"
        for side, frame in (("reference", reference), ("current", current))
        if frame.height > most_rows
    ]
    sides = (_sampled(reference, most_rows, seed), _sampled(current, most_rows, seed + 1))
    knowledge = knowledge or Knowledge()
    found, unable = measures(*sides, spec, knowledge=knowledge, matched=comparison == "catalogue", seed=seed)
    judged = min(rows) >= spec.drift.min_rows
    drawn = None
    if comparison == "arrivals" and judged:
        drawn, note = _ordinary(sides[0], sides[1].height, spec, seed)
        notes.append(note)
    scores = _scores([*found, *more], spec.drift, comparison, seed, judged=judged, ordinary=drawn, own=len(found))
    found += more
    changes = [
        measure.sample.change(measure.method) if min(measure.sample.sizes) else "no values to compare"
        for measure in found
    ]
    report = None
    if pictures and judged:
        report, failure = _run_evidently(found, scores, tags=[spec.name, comparison])
        unable += failure
    far = None
    if pictures and knowledge.embedding is not None and min(rows):
        far = outliers(knowledge.embedding, *sides, spec)
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
        outliers=far,
    )


def _ordinary(pool: pl.DataFrame, rows: int, spec: CatalogSpec, seed: int) -> tuple[increments.Increments, str]:
    """Increments that are drawn from what came before, and a note on how."""
    ranges = increments.range_fields((one.name for one in spec.fields if one.kind == "keyword"), pool)
    drawn = increments.draw(pool, ranges, LABEL if LABEL in pool.columns else None, rows, seed)
    kinds = ", ".join(dict.fromkeys(drawn.kinds))
    return drawn, f"Thresholds are what {drawn.number:,} increments of earlier arrivals reach: {kinds} (seed {seed})"


def _sampled(frame: pl.DataFrame, most_rows: int, seed: int) -> pl.DataFrame:
    return frame.sample(most_rows, seed=seed) if frame.height > most_rows else frame


def _scores(
    found: Sequence[Measure],
    drift: DriftSpec,
    comparison: Comparison,
    seed: int,
    *,
    judged: bool,
    ordinary: increments.Increments | None,
    own: int,
) -> pl.DataFrame:
    """One row a measure. `ordinary` increments judge the first `own`, which are of products; chance the others."""
    limits = [drift.thresholds[measure.kind] for measure in found]
    if judged:
        by_chance = found
        if ordinary is not None:
            reached = ordinary.scores([measure.sample.counted(measure.method) for measure in found[:own]])
            limits[:own] = increments.thresholds(reached, limits[:own], ordinary.kinds, FALSE_ALARMS)
            by_chance = found[own:]
        at = len(found) - len(by_chance)
        limits[at:] = [
            max(limit, _chance(measure, len(found), seed))
            for limit, measure in zip(limits[at:], by_chance, strict=True)
        ]
    rows = []
    for measure, threshold in zip(found, limits, strict=True):
        sizes = measure.sample.sizes
        score = measure.sample.score(measure.method) if min(sizes) > 0 else None
        # What ordinary increments take to its end can tell nothing: no verdict, rather than one that cannot be other.
        told = score is not None and judged and threshold < _MOST.get(measure.method, math.inf)
        drifted = score > threshold if told and score is not None else None
        names = (comparison, measure.metric, measure.field, measure.method)
        rows.append((*names, score, threshold, drifted, *sizes, seed))
    return pl.DataFrame(rows, schema=SCORES, orient="row")


def _chance(measure: Measure, measures: int, seed: int) -> float:
    """The largest score of the pooled rows dealt out again at random."""
    if not min(measure.sample.sizes):
        return 0.0
    shuffles = max(_LEAST_SHUFFLES, math.ceil(measures / FALSE_ALARMS))
    # Each measure its own stream of chance: one more field must not change the others' thresholds.
    rng = np.random.default_rng([seed, zlib.crc32(f"{measure.metric} {measure.field}".encode())])
    return float(measure.sample.null(measure.method, shuffles=shuffles, rng=rng).max())


def _run_evidently(
    found: Sequence[Measure], scores: pl.DataFrame, tags: Sequence[str]
) -> tuple[EvidentlyRun | None, list[str]]:
    from reports import evidently_report

    judged = [
        (measure, threshold)
        for measure, threshold, drifted in zip(found, scores["threshold"], scores["drifted"], strict=True)
        if drifted is not None and measure.method != "new_share" and measure.metric != REJECTED
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
        return f"No drift: none of {compared} measures is beyond its threshold."
    strongest = said.sort(pl.col("score") / pl.col("threshold"), descending=True).head(3)
    named = "; ".join(
        f"{title(row)} ({row['score']:.3f}, threshold {row['threshold']:.3f}: {row['change']})"
        for row in strongest.iter_rows(named=True)
    )
    verdict = f"Drift: {said.height} of {compared} measures {beyond(said.height)}. Furthest: {named}."
    return f"{verdict} {mix_or_words(scores)}".rstrip()


def beyond(measures: int) -> str:
    """What so many measures are, in words. They do not pass or fail: that is what checks of the gate do."""
    return "is beyond its threshold" if measures == 1 else "are beyond their thresholds"


def mix_or_words(scores: pl.DataFrame) -> str:
    """Whether words moved because labels did, in a sentence; empty where neither moved, or one was not compared."""
    moved: dict[str, bool] = {}
    for metric, drifted in scores.drop_nulls("drifted").select("metric", "drifted").iter_rows():
        moved[metric] = moved.get(metric, False) or drifted
    if not {"label_mix", "words_at_equal_labels"} <= moved.keys():
        return ""
    if moved["label_mix"] and moved["words_at_equal_labels"]:
        return "Both the mix of labels and the words within labels moved."
    if moved["label_mix"]:
        more = "; all words together moved because of it" if moved.get("words") else ""
        return f"The mix of labels moved, the words within labels did not{more}."
    return "The words within labels moved, the mix of labels did not." if moved["words_at_equal_labels"] else ""


def title(row: Mapping[str, Any]) -> str:
    """A measure in words: `Words used (title)`."""
    return _METRICS[row["metric"]] + ("" if row["metric"] in OF_NO_FIELD else f" ({row['field']})")
