"""Line charts and interval marks as inline SVG: no script, told apart by dash and shape, not by colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from reports import page

__all__ = ["Axis", "Group", "Line", "line_chart", "range_bar", "scatter_chart"]

Point = tuple[float, float]

WIDTH, HEIGHT = 380, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 10, 42
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
# Paths around (0, 0): circle, square, triangle, diamond.
_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-4.6l4.4 8h-8.8z",
    "M0-4.8l4.2 4.8-4.2 4.8-4.2-4.8z",
)
_TEXT = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
_NAME_WIDTH = 72
_NAME = Markup('<text class="over" x="{}" y="{}" text-anchor="end">{}</text>')
_STROKE = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')


@dataclass(frozen=True)
class Axis:
    """One axis: what it shows, from where to where, and where it has numbers (value, text)."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Line:
    """One line: its points in order, and the intervals (x, low, high) around some of them.

    `marked`: every point gets the line's shape; with many points only the line is drawn.
    """

    name: str
    points: Sequence[Point]
    ranges: Sequence[tuple[float, float, float]] = field(default=())
    marked: bool = True


@dataclass(frozen=True)
class Group:
    """Points that are told apart from others by shape and by tone (as in reports.page.Tone)."""

    name: str
    points: Sequence[Point]
    tone: page.Tone


def scatter_chart(groups: Sequence[Group], spoken: str) -> Markup:
    """Points of up to four groups without scales, for places that only mean something beside each other."""
    if len(groups) > len(_SHAPES):
        raise ValueError(f"{len(groups)} groups cannot be told apart, {len(_SHAPES)} can")
    points = [point for group in groups for point in group.points]
    x, y = (_around([point[side] for point in points]) for side in (0, 1))
    frame = Markup('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>')
    parts = [frame.format(LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM)]
    dot = Markup('<path class="point fill-{}" d="{}" transform="translate({} {}) scale(.7)"/>')
    for number, group in enumerate(groups):
        parts += [dot.format(group.tone, _SHAPES[number], _place_x(a, x), _place_y(b, y)) for a, b in group.points]
    drawn = Markup('<svg class="plot chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, spoken, Markup("").join(parts)
    )
    items = [
        Markup(
            '<li><svg class="sample" viewBox="0 0 34 12" aria-hidden="true">'
            '<path class="point fill-{}" d="{}" transform="translate(17 6)"/></svg>{} ({})</li>'
        ).format(group.tone, _SHAPES[number], group.name, page.number(len(group.points)))
        for number, group in enumerate(groups)
    ]
    return drawn + Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _around(values: Sequence[float]) -> Axis:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return Axis("", low, high if high > low else low + 1, ())


def line_chart(lines: Sequence[Line], x: Axis, y: Axis, spoken: str, at: tuple[float, str] | None = None) -> Markup:
    """Lines over two axes, with a legend under them when there are several.

    Args:
        lines: at most four; more would not be told apart.
        x: horizontal axis.
        y: vertical axis.
        spoken: what it says to somebody who cannot see it.
        at: a value of y that gets a dashed line of its own, and its name.
    """
    if len(lines) > len(_DASHES):
        raise ValueError(f"{len(lines)} lines cannot be told apart, {len(_DASHES)} can")
    parts = [*_grid(x, y)]
    if at is not None:
        height = _place_y(at[0], y)
        parts.append(_STROKE.format("ideal", LEFT, WIDTH - RIGHT, height, height))
    for number, line in enumerate(lines):
        parts.append(_drawn(line, number, x, y))
    if at is not None:
        parts.append(_NAME.format(*_free_place(lines, x, y, height), at[1]))
    drawn = Markup('<svg class="plot chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, spoken, Markup("").join(parts)
    )
    return drawn if len(lines) < 2 else drawn + _legend(lines)


def _free_place(lines: Sequence[Line], x: Axis, y: Axis, height: float) -> tuple[float, float]:
    """Where a name stands beside a dashed line: on its right if it can, where the fewest points are under it."""
    points = [(_place_x(one, x), _place_y(other, y)) for line in lines for one, other in line.points]
    starts = (WIDTH - RIGHT - 5 - _NAME_WIDTH, (LEFT + WIDTH - RIGHT - _NAME_WIDTH) / 2, LEFT + 5)
    places = [(start, height + down) for start in starts for down in (-4, 13)]

    def covered(place: tuple[float, float]) -> int:
        left, base = place
        return sum(left - 2 <= one <= left + _NAME_WIDTH and base - 12 <= other <= base + 5 for one, other in points)

    left, base = min(places, key=covered)
    return left + _NAME_WIDTH, base


def range_bar(low: float, value: float, high: float, reference: float, least: float) -> Markup:
    """An interval with its value, beside a reference: a stroke, a block on it, and a tick; from `least` to 1.

    Args:
        low: start of the interval.
        value: what was measured.
        high: its end.
        reference: what it is compared with.
        least: left end of the scale.
    """
    places = [max(0.0, (one - least) / (1 - least) * 100) for one in (low, value, high, reference)]
    return Markup(
        '<svg class="bar range" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        'aria-label="{}, from {} to {}; overall {}"><rect class="track" width="100" height="8"/>'
        '<rect class="fill-plain" x="{:.2f}" width="{:.2f}" y="3.2" height="1.6"/>'
        '<rect class="fill-plain" x="{:.2f}" width="2.4" height="8"/>'
        '<line class="tick" x1="{:.2f}" x2="{:.2f}" y1="0" y2="8"/></svg>'
    ).format(
        *(page.decimal(one, 3) for one in (value, low, high, reference)),
        places[0], places[2] - places[0], min(max(places[1] - 1.2, 0), 97.6), places[3], places[3],
    )  # fmt: skip


def _grid(x: Axis, y: Axis) -> list[Markup]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value, text in x.ticks:
        place = _place_x(value, x)
        parts += [
            _STROKE.format("grid", place, place, TOP, bottom),
            _TEXT.format(place, bottom + 15, "middle", text),
        ]
    for value, text in y.ticks:
        place = _place_y(value, y)
        parts += [_STROKE.format("grid", LEFT, right, place, place), _TEXT.format(LEFT - 6, place + 4, "end", text)]
    middle = (TOP + bottom) / 2
    frame = Markup('<rect class="frame" x="{}" y="{}" width="{}" height="{}"/>')
    turned = Markup('<text x="12" y="{0}" text-anchor="middle" transform="rotate(-90 12 {0})">{1}</text>')
    parts += [
        frame.format(LEFT, TOP, right - LEFT, bottom - TOP),
        _TEXT.format((LEFT + right) / 2, HEIGHT - 8, "middle", x.title),
        turned.format(middle, y.title),
    ]
    return parts


def _drawn(line: Line, number: int, x: Axis, y: Axis) -> Markup:
    places = [(_place_x(one, x), _place_y(other, y)) for one, other in line.points]
    strokes = [
        _STROKE.format("range", _place_x(at, x), _place_x(at, x), _place_y(low, y), _place_y(high, y))
        for at, low, high in line.ranges
    ]
    shapes = [
        Markup('<path class="dot" d="{}" transform="translate({} {})"/>').format(_SHAPES[number], *place)
        for place in (places if line.marked else places[-1:])
    ]
    path = " ".join(f"{one},{other}" for one, other in places)
    drawn = Markup('<polyline class="line" points="{}" stroke-dasharray="{}"/>').format(path, _DASHES[number])
    return Markup("").join([*strokes, drawn, *shapes])


def _legend(lines: Sequence[Line]) -> Markup:
    items = [
        Markup(
            '<li><svg class="sample" viewBox="0 0 34 12" aria-hidden="true">'
            '<line class="line" x1="0" x2="34" y1="6" y2="6" stroke-dasharray="{}"/>'
            '<path class="dot" d="{}" transform="translate(17 6)"/></svg>{}</li>'
        ).format(_DASHES[number], _SHAPES[number], line.name)
        for number, line in enumerate(lines)
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _place_x(value: float, axis: Axis) -> float:
    return round(LEFT + (value - axis.low) / (axis.high - axis.low) * (WIDTH - LEFT - RIGHT), 1)


def _place_y(value: float, axis: Axis) -> float:
    inside = min(max(value, axis.low), axis.high)
    return round(HEIGHT - BOTTOM - (inside - axis.low) / (axis.high - axis.low) * (HEIGHT - TOP - BOTTOM), 1)
