"""Bar charts as SVG, drawn here: the project needs no plotting library for a dozen bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

__all__ = ["Panel", "draw"]

_WIDTH, _FIGURES, _BAR, _GAP = 860, 110, 18, 8
_OURS, _THEIRS = "#1f6f8b", "#b9b9b9"
# Columns of a character, a little more than most fonts take at this size; bars keep at least what labels leave them.
_CHARACTER, _MOST_LABELS = 7.4, 520
_GROUP = ": "


@dataclass(frozen=True)
class Panel:
    """One chart: its heading, the key of its figures in the rows, and how they are written."""

    heading: str
    key: str
    form: str


@dataclass(frozen=True)
class _Bar:
    """A row as it is drawn: what it belongs to, what it is called there, whether it is ours, and the row."""

    group: str
    label: str
    is_ours: bool
    row: dict[str, Any]


def draw(title: str, rows: Sequence[dict[str, Any]], panels: Sequence[Panel], ours: Sequence[str] = ()) -> str:
    """Horizontal bars, one a row, one panel under the other; bars of Aisle stand out.

    Where all rows are called "set: way", those of a set stand together under its name.

    Args:
        title: above all panels.
        rows: each with `way`, its name, and figures, or a `status` that says why there are none.
        panels: what is drawn of them.
        ours: how ways that are Aisle's begin, beside those that begin with its name.
    """
    body, top = [_text(12, 24, title, size=16, weight="bold")], 44
    bars = _bars(rows, ours)
    left = min(20 + _CHARACTER * max((len(bar.label) for bar in bars), default=0), _MOST_LABELS)
    for panel in panels:
        body.append(_text(12, top + 12, panel.heading, weight="bold"))
        top += 22
        shown = [bar for bar in bars if "status" in bar.row or _number(bar.row, panel) is not None]
        longest = max((_number(bar.row, panel) or 0.0 for bar in shown), default=0.0) or 1.0
        for group, own in groupby(shown, key=lambda bar: bar.group):
            if group:
                body.append(_text(12, top + 14, group))
                top += _BAR + _GAP
            for bar in own:
                body += _drawn(bar, panel, top, left, longest)
                top += _BAR + _GAP
        top += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}" '
        f'font-family="sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _bars(rows: Sequence[dict[str, Any]], ours: Sequence[str]) -> list[_Bar]:
    is_grouped = all(_GROUP in row["way"] for row in rows if "status" not in row)
    bars = []
    for row in rows:
        group, _, label = row["way"].partition(_GROUP) if is_grouped else ("", "", row["way"])
        is_ours = row["way"].startswith("Aisle") or label.startswith(("Aisle", *ours))
        bars.append(_Bar(group if label else "", label or row["way"], is_ours, row))
    return bars


def _drawn(bar: _Bar, panel: Panel, top: int, left: float, longest: float) -> list[str]:
    label = _text(left - 8, top + 14, bar.label, anchor="end")
    value = _number(bar.row, panel)
    if value is None:
        return [label, _text(left + 6, top + 14, bar.row["status"])]
    length = max((_WIDTH - left - _FIGURES) * value / longest, 1.0)
    colour = _OURS if bar.is_ours else _THEIRS
    return [
        label,
        f'<rect x="{left:.1f}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
        _text(left + length + 6, top + 14, format(value, panel.form)),
    ]


def _number(row: dict[str, Any], panel: Panel) -> float | None:
    value = row.get(panel.key)
    return float(value) if isinstance(value, int | float) else None


def _text(x: float, y: float, text: str, *, size: int = 13, weight: str = "normal", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
