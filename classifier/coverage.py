"""Precision against coverage: how much could be used unseen, were confidence the only thing to go by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["TARGETS", "precision_coverage"]

TARGETS = (0.90, 0.95, 0.98, 0.99)
"""Precisions for which the coverage is told."""

_POINTS = 200
"""Points kept of a curve: as many as a picture can show."""


def precision_coverage(answered: pl.DataFrame, levels: Sequence[str]) -> list[dict[str, Any]]:
    """For each level of the label its curve over the hold-out, the surest products first.

    Args:
        answered: products with `known_path`, `label_path`, `confidence` and `confidence_path`.
        levels: names of the label's levels.

    Returns:
        level, rows, points (coverage, precision, confidence) and at (target, coverage, rows, confidence: the largest
        coverage with that precision; coverage 0 and confidence None where none reaches it). Products whose right path
        or predicted path does not reach a level do not count there.
    """
    known = answered.drop_nulls("known_path")
    curves = []
    for depth, level in enumerate(levels, 1):
        reaching = known.filter(pl.min_horizontal(pl.col("known_path", "label_path").list.len()) >= depth)
        if reaching.is_empty():
            continue
        confidence = reaching["confidence_path"].list.get(depth - 1) if len(levels) > 1 else reaching["confidence"]
        right = reaching["known_path"].list.head(depth) == reaching["label_path"].list.head(depth)
        curves.append({"level": level, **_curve(confidence.to_numpy(), right.to_numpy())})
    return curves


def _curve(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    taken = np.arange(1, len(falling) + 1)
    precision = np.cumsum(right[order]) / taken
    # Products of the same confidence are taken together: only the last of them is a place to stop.
    stops = np.flatnonzero(np.append(falling[1:] < falling[:-1], True))
    at = []
    for target in TARGETS:
        fine = stops[precision[stops] >= target]
        last = fine[-1] if len(fine) else None
        at.append(
            {
                "target": target,
                "coverage": 0.0 if last is None else float(taken[last] / len(taken)),
                "rows": 0 if last is None else int(taken[last]),
                "confidence": None if last is None else float(falling[last]),
            }
        )
    shown = stops[np.unique(np.linspace(0, len(stops) - 1, min(_POINTS, len(stops))).round().astype(int))]
    points = [
        {
            "coverage": float(taken[stop] / len(taken)),
            "precision": float(precision[stop]),
            "confidence": float(falling[stop]),
        }
        for stop in shown
    ]
    return {"rows": len(falling), "points": points, "at": at}
