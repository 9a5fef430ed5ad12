"""The charts of the evaluation page: precision against coverage, the learning curve, the marks of slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from classifier.slices import Slices
from classifier.studies import Study
from reports import page
from reports.charts import Axis, Line, line_chart, range_bar
from reports.findings import Findings

__all__ = ["draw"]

_MOST_LINES = 4


def draw(found: Findings) -> dict[str, Any]:
    """Charts by name: coverage, learning (None where there is nothing to draw) and slices (a mark a row)."""
    return {
        "coverage": _coverage(found.coverage, found.precision_target),
        "learning": _learning(found.learning_curve),
        "slices": _marks(found.slices),
    }


def _coverage(curves: Sequence[Mapping[str, Any]], target: float | None) -> Markup | None:
    if not curves:
        return None
    shown = curves[-_MOST_LINES:]
    lines = [
        Line(curve["level"], [(point["coverage"], point["precision"]) for point in curve["points"]], marked=False)
        for curve in shown
    ]
    least = min(min(one for _, one in line.points) for line in lines)
    x = Axis(
        "coverage: share of the products, surest first", 0, 1, [(tick / 5, f"{tick / 5:.1f}") for tick in range(6)]
    )
    spoken = "Precision by coverage; the table beside it has the numbers"
    at = None if target is None else (target, f"asked: {page.share(target, 0)}")
    return line_chart(lines, x, _from(min(least, target or 1), "precision"), spoken, at)


def _learning(study: Study | None) -> Markup | None:
    if study is None or len(study.rows) < 2:
        return None
    lines = []
    for name, key in (("macro F1", "macro_f1"), ("accuracy", "accuracy")):
        points = [(row["rows"], row[key]) for row in study.rows]
        lines.append(Line(name, points, [(row["rows"], *row["intervals"][key]) for row in study.rows]))
    most = max(row["rows"] for row in study.rows)
    ticks = [(row["rows"], page.number(row["rows"])) for row in study.rows]
    least = min(low for line in lines for _, low, _ in line.ranges)
    x = Axis("training products", 0, most * 1.04, ticks)
    return line_chart(lines, x, _from(least, "on the hold-out"), "Metrics by training rows; the table has the numbers")


def _marks(cut: Slices | None) -> list[Markup]:
    if cut is None:
        return []
    least = _floor(min([*cut.table["low"].drop_nulls().to_list(), cut.overall]))
    return [
        range_bar(row["low"], row["accuracy"], row["high"], cut.overall, least)
        for row in cut.table.iter_rows(named=True)
    ]


def _from(least: float, title: str) -> Axis:
    low = _floor(least)
    step = (1 - low) / 5
    return Axis(title, low, 1, [(low + step * tick, f"{low + step * tick:.2f}") for tick in range(6)])


def _floor(value: float) -> float:
    """The next twentieth below, and at most 0.95: a scale needs some room."""
    return max(0.0, min(0.95, math.floor(value * 20 - 0.2) / 20))
