"""Bar charts as SVG, drawn here: the project needs no plotting library for a dozen bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["Panel", "draw"]

_WIDTH, _LABELS, _FIGURES, _BAR, _GAP = 860, 330, 110, 18, 8
_OURS, _THEIRS = "#1f6f8b", "#b9b9b9"


@dataclass(frozen=True)
class Panel:
    """One chart: its heading, the key of its figures in the rows, and how they are written."""

    heading: str
    key: str
    form: str


def draw(title: str, rows: Sequence[dict[str, Any]], panels: Sequence[Panel]) -> str:
    """Horizontal bars, one a row, one panel under the other; bars of Aisle stand out."""
    body, top = [_text(12, 24, title, size=16, weight="bold")], 44
    for panel in panels:
        body.append(_text(12, top + 12, panel.heading, weight="bold"))
        top += 22
        shown = [row for row in rows if "status" in row or _number(row, panel) is not None]
        longest = max((_number(row, panel) or 0.0 for row in shown), default=0.0) or 1.0
        for row in shown:
            body += _bar(row, panel, top, longest)
            top += _BAR + _GAP
        top += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}" '
        f'font-family="sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _bar(row: dict[str, Any], panel: Panel, top: int, longest: float) -> list[str]:
    label = _text(_LABELS - 8, top + 14, row["way"], anchor="end")
    value = _number(row, panel)
    if value is None:
        return [label, _text(_LABELS + 6, top + 14, row["status"])]
    length = max((_WIDTH - _LABELS - _FIGURES) * value / longest, 1.0)
    colour = _OURS if row["way"].startswith("Aisle") else _THEIRS
    return [
        label,
        f'<rect x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
        _text(_LABELS + length + 6, top + 14, format(value, panel.form)),
    ]


def _number(row: dict[str, Any], panel: Panel) -> float | None:
    value = row.get(panel.key)
    return float(value) if isinstance(value, int | float) else None


def _text(x: float, y: float, text: str, *, size: int = 13, weight: str = "normal", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
