"""The shared look of every HTML page: one jinja2 environment, a few filters, two small SVG pictures.

A page extends `base.html`, is complete in one file (styles and pictures inside, no script, no network) and shows
product text only escaped: autoescape is on for every template, and a missing variable is an error, not an empty spot.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["Tone", "bar", "cut", "decimal", "number", "render", "share", "signed", "stack", "write", "write_text"]

Tone = Literal["good", "review", "bad", "quiet", "plain"]
"""What a colour says: fine, look at it, wrong, nothing happened, just a quantity."""

TEMPLATES = Path(__file__).parent / "templates"
ABSENT = "–"

# A control character in product text has no glyph, and some break the page: show its Unicode picture (␀, ␛ …) instead.
# Tab, line feed and carriage return are harmless white space.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10, 13)} | {127: "␡"}
# Direction overrides in one title would turn round the text after it.
_VISIBLE = _PICTURES | dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\N{REPLACEMENT CHARACTER}")


def render(template: str, /, **context: object) -> str:
    """The page that `template` (a file name in reports/templates) makes of `context`.

    Every page needs `title`; `base.html` says what else it takes. `made_at` (UTC) is set unless given.
    """
    return _environment().get_template(template).render({"made_at": datetime.now(UTC), **context})


def write(path: Path, template: str, /, **context: object) -> Path:
    """Render `template` into the file `path`, whole or not at all; makes its folder."""
    return write_text(path, render(template, **context))


def write_text(path: Path, text: str) -> Path:
    """Write `text` beside `path` and rename it into place, so that nobody opens half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(beside).chmod(0o644)  # mkstemp's 0600 would hide the page from a web server or a colleague
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return path


NO_VERDICT = "no verdict"
"""What a report says that had too little to judge by."""


def cut(text: object, most: int = 300) -> str:
    """`text` cut after `most` characters, with a note of how many are missing."""
    if text is None:
        return ABSENT
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[:most]}… ({len(whole) - most:,} more characters)"


def number(value: float | None, digits: int = 0) -> str:
    """1234567 → 1,234,567; nothing → –."""
    return ABSENT if value is None or value != value else f"{value:,.{digits}f}"


def decimal(value: float | None, digits: int = 4) -> str:
    """A score in 0..1 → 0.9412; nothing → –."""
    return number(value, digits)


def share(value: float | None, digits: int = 1) -> str:
    """0.0312 → 3.1 %; above zero but too small to show → < 0.1 %; short of all by as little → > 99.9 %."""
    if value is None or value != value:
        return ABSENT
    least = 10**-digits
    percent = value * 100
    if 0 < percent < least:
        return f"< {least:.{digits}f} %"
    if 100 - least < percent < 100:
        return f"> {100 - least:.{digits}f} %"
    return f"{percent:.{digits}f} %" if 0 < value < 1 else f"{percent:.0f} %"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign: 0.031 → +0.031, -0.01 → −0.010; nothing → –."""
    if value is None or value != value:
        return ABSENT
    return f"{value:+.{digits}f}".replace("-", "−")


def bar(value: float | None, most: float, tone: Tone = "plain", label: str | None = None) -> Markup:
    """A horizontal bar, `value` of `most` long, as inline SVG; a value above zero is always visible.

    Args:
        value: the quantity; None draws an empty bar.
        most: the quantity of a full bar.
        tone: its colour.
        label: what it says to somebody who cannot see it; the share of `most` otherwise.
    """
    part = 0.0 if value is None or most <= 0 else max(0.0, min(1.0, value / most))
    width = max(part * 100, 0.8) if part > 0 else 0.0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="track" width="100" height="8"/><rect class="fill-{}" width="{}" height="8"/></svg>'
    ).format(label if label is not None else share(part), tone, f"{width:.2f}")


def stack(parts: Iterable[tuple[str, float, Tone]]) -> Markup:
    """One bar made of all `parts` (name, quantity, tone) in order, as inline SVG, with a legend under it."""
    kept: Sequence[tuple[str, float, Tone]] = [part for part in parts if part[1] > 0]
    total = sum(value for _, value, _ in kept)
    pieces, at = [], 0.0
    for name, value, tone in kept:
        width = value / total * 100
        pieces.append(
            Markup('<rect class="fill-{} piece" x="{}" width="{}" height="8"><title>{}: {}</title></rect>').format(
                tone, f"{at:.3f}", f"{width:.3f}", name, number(value)
            )
        )
        at += width
    legend = Markup("").join(
        Markup('<li><svg class="key" viewBox="0 0 8 8" aria-hidden="true"><rect class="fill-{}" width="8" height="8"/>'
               "</svg>{} <b>{}</b> <small>{}</small></li>").format(tone, name, number(value), share(value / total))
        for name, value, tone in kept
    )  # fmt: skip
    spoken = ", ".join(f"{name} {number(value)}" for name, value, _ in kept)
    return Markup(
        '<figure class="stack"><svg viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="track" width="100" height="8"/>{}</svg><ul class="legend">{}</ul></figure>'
    ).format(spoken, Markup("").join(pieces), legend)


def _visible(value: object) -> object:
    """What a template is about to show, with control characters as pictures."""
    return value.translate(_VISIBLE) if isinstance(value, str) and not isinstance(value, Markup) else value


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cut=cut, number=number, decimal=decimal, share=share, signed=signed)
    environment.globals.update(bar=bar, stack=stack)
    return environment
