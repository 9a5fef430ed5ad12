"""What labels are worth by the way in which their products were chosen: the loop of review, labels and training."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.protocols import PROTOCOLS
from benchmarks.results import Column, Report

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec

__all__ = ["loop", "run"]

START = 300
"""Rows that are labelled before anybody reviews."""
ADDED = 100
"""Labels a round."""
ROUNDS = 4
SEEDS = 3
MOST_POOL = 10_000
"""Products in review at most: each round answers for all of them."""
MOST_TEST = 5_000

SETS = ("elo7", "asos", "newsgroups, stripped")
OURS = "aisle review export"

Rows = NDArray[np.int64]


def run(options: Options) -> Report:
    """Measure."""
    report = Report(
        "review",
        "What to label next",
        f"{START} labelled products, drawn at random, train a first model (`aisle train`, with the catalogue's own "
        f"recipe). Then, {ROUNDS} times, {ADDED} more are chosen among the others, get their true labels, and a new "
        "model is trained. Measured on products that no model sees. Mean of "
        f"{SEEDS} repetitions with other first products, the same ones for every way.",
        [
            Column("start_accuracy", "accuracy before", ".4f"),
            Column("accuracy", "accuracy after", ".4f"),
            Column("mean_accuracy", "mean over the rounds", ".4f"),
            Column("start_macro_f1", "macro F1 before", ".4f"),
            Column("macro_f1", "macro F1 after", ".4f"),
            Column("mean_macro_f1", "mean over the rounds", ".4f"),
            Column("gain", "macro F1 over random, mean over the rounds", "+.4f"),
            Column("spread", "± (standard deviation)", ".4f"),
        ],
        charts=(
            ("mean_accuracy", "accuracy, mean over the rounds"),
            ("mean_macro_f1", "macro F1, mean over the rounds"),
        ),
    )
    for name in SETS:
        protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
        if not protocol.is_there:
            report.missing(name, "skipped: this real set is not beside the project")
            continue
        options.say(f"review: {name}")
        found = measured(loop, {"name": name, "rows": options.rows}).facts
        for way in WAYS:
            report.add(f"{name}: {way}", **_summary(found[way], found["at random"]))
        report.notes.append(f"{name}: {protocol.what}{'' if protocol.test else ', the first fold measured'}.")
    report.notes.append(f"At most {MOST_POOL:,} products are in review, and {MOST_TEST:,} measured.")
    return report


def _summary(curves: list[list[dict[str, float]]], random: list[list[dict[str, float]]]) -> dict[str, Any]:
    """One way's row: of each repetition a curve, which has the scores before the first round and after each."""
    facts: dict[str, Any] = {}
    for metric in ("accuracy", "macro_f1"):
        facts[f"start_{metric}"] = statistics.mean(curve[0][metric] for curve in curves)
        facts[metric] = statistics.mean(curve[-1][metric] for curve in curves)
        facts[f"mean_{metric}"] = statistics.mean(_mean(curve, metric) for curve in curves)
    gains = [_mean(own, "macro_f1") - _mean(other, "macro_f1") for own, other in zip(curves, random, strict=True)]
    return facts | {"gain": statistics.mean(gains), "spread": statistics.stdev(gains), "curves": curves}


def _mean(curve: list[dict[str, float]], metric: str) -> float:
    return statistics.mean(point[metric] for point in curve[1:])


def loop(name: str, rows: int | None) -> Work:
    """Job: every way on one set, all repetitions."""
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    spec, frame = protocol.read(protocol.train)
    split = next(protocol.splits(frame.sample(min(rows or frame.height, frame.height), seed=0)))
    test = split.test.sample(min(MOST_TEST, split.test.height), seed=0)

    def work() -> dict[str, Any]:
        curves: dict[str, Any] = {way: [] for way in WAYS}
        for seed in range(SEEDS):
            pool = split.train.sample(min(MOST_POOL + START, split.train.height), seed=seed, shuffle=True)
            for way in WAYS:
                curves[way].append(_curve(pool, test, spec, way, seed))
        return curves

    return work


def _curve(pool: pl.DataFrame, test: pl.DataFrame, spec: CatalogSpec, way: str, seed: int) -> list[dict[str, float]]:
    import polars as pl

    from classifier.metrics import evaluate
    from classifier.model import fit
    from classifier.recipes import resolve

    start = min(START, pool.height // 3)
    each = min(ADDED, (pool.height - start) // (ROUNDS + 1))
    labelled = np.arange(start)
    curve = []
    for number in range(ROUNDS + 1):
        model = fit(pool[labelled], spec, resolve(spec, None, None), seed)
        scores = evaluate(test["known_path"], model.predict(test, reasons=False)["label_path"], spec.levels)
        curve.append({"accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]})
        if number < ROUNDS:
            left = np.setdiff1d(np.arange(pool.height), labelled)
            texts = pool[left].select(pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True)).to_series()
            asked = Asked(texts, model.predict(pool[left], reasons=False), each, seed * ROUNDS + number)
            labelled = np.concatenate([labelled, left[WAYS[way](asked)]])
    return curve


@dataclass(frozen=True)
class Asked:
    """A question: which of these products are to be labelled next?"""

    texts: pl.Series
    answers: pl.DataFrame
    most: int
    seed: int


def _at_random(asked: Asked) -> Rows:
    return np.random.default_rng(asked.seed).permutation(len(asked.texts))[: asked.most]


def _least_sure(asked: Asked) -> Rows:
    return np.argsort(asked.answers["confidence"].to_numpy(), kind="stable")[: asked.most]


def _least_margin(asked: Asked) -> Rows:
    margin = asked.answers["confidence"] - asked.answers["runner_up_confidence"]
    return np.argsort(margin.to_numpy(), kind="stable")[: asked.most]


def _ours(asked: Asked, candidates_a_place: int | None = None) -> Rows:
    from classifier.selection import CANDIDATES_A_PLACE, most_useful

    confidence = asked.answers["confidence"].to_numpy()
    order = np.argsort(confidence, kind="stable")
    once = order[asked.texts.gather(order).is_first_distinct().to_numpy()]  # as SQL takes one of each text
    candidates = once[: (candidates_a_place or CANDIDATES_A_PLACE) * asked.most]
    chosen = most_useful(asked.texts.gather(candidates), confidence[candidates], asked.most, asked.seed)
    return np.asarray(candidates[chosen], dtype=np.int64)


WAYS: dict[str, Callable[[Asked], Rows]] = {
    "at random": _at_random,
    "least sure": _least_sure,
    "least margin to the runner-up": _least_margin,
    OURS: _ours,
    "the same with 3 candidates a place": partial(_ours, candidates_a_place=3),
}
