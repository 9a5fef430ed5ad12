"""Writes docs/analysis.md: the words of docs/templates/analysis.md with the figures that scripts/analysis measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jinja2

from catalogs.product import PATH_SEPARATOR
from reports import page

__all__ = ["FIGURES", "PAGE", "figures", "filled", "render", "write"]

_DOCS = Path(__file__).resolve().parent
FIGURES = _DOCS.parent / "benchmarks" / "results" / "analysis.json"
PAGE = _DOCS / "analysis.md"
TEMPLATE = _DOCS / "templates" / "analysis.md"

_MARKER = "<!-- Written by scripts/analysis; edit docs/templates/analysis.md, and run scripts/docs. -->\n\n"


def figures() -> dict[str, Any]:
    """What was measured, by set."""
    found: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


def render(measured: dict[str, Any]) -> str:
    """The page. A figure that the template names and nothing has measured is an error, never a blank."""
    return _MARKER + filled(TEMPLATE.read_text(encoding="utf-8"), sets=measured)


def filled(template: str, **values: Any) -> str:
    """A page's template with its figures."""
    environment = jinja2.Environment(  # nosec B701
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown of our own figures, not HTML
    )
    environment.filters |= {
        "share": page.share,
        "score": page.decimal,
        "count": page.number,
        "signed": page.signed,
        "between": _between,
        "label": _label,
        "item": _item,
    }
    text = environment.from_string(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).lstrip()


def write() -> None:
    """Write docs/analysis.md."""
    PAGE.write_text(render(figures()), encoding="utf-8")


def _between(ends: list[float], digits: int = 3) -> str:
    """An interval as people read it."""
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _label(path: str) -> str:
    """The end of a label path, without the code that GS1 puts before a name: it says enough in a table."""
    return re.sub(r"^[0-9]{8}_", "", path.rpartition(PATH_SEPARATOR)[2])


def _item(sentence: str) -> str:
    """A sentence behind a list's dash: one that starts with “>” would be a quotation there."""
    return f"\\{sentence}" if sentence.startswith(">") else sentence
