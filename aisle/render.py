"""What commands print: aligned tables and facts for eyes, JSON for machines.

Product text is somebody else's: control characters in it never reach the terminal, and JSON holds no NaN.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NoReturn

from core.errors import printable

CELL_MOST = 60
"""Columns on screen that one cell of a table takes at most; JSON has it whole."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


READER_GONE = 141
"""Exit code when the reader of stdout has left (`aisle sql … | head`): 128 and the number of SIGPIPE."""


def emit(text: str) -> None:
    """Print a result to stdout."""
    try:
        print(printable(text))
    except BrokenPipeError:
        _leave()


def flush() -> None:
    """Make sure that what was printed has arrived."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave()


def _leave() -> NoReturn:
    """End quietly: nobody reads on. stdout leads nowhere from here, so that Python's own last flush is quiet too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(READER_GONE)


def note(text: str) -> None:
    """Tell people something that is no result, on stderr."""
    print(printable(text), file=sys.stderr)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: times in ISO 8601, NaN and infinities null, whatever else as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def as_json(value: Any) -> str:
    """A value as indented JSON."""
    return json.dumps(plain(value), ensure_ascii=False, indent=2)


def as_json_line(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(plain(value), ensure_ascii=False)


def as_json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """A JSON array with one row a line: long answers stay readable, and line tools can cut them."""
    lines = [as_json_line(row) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def cell(value: Any) -> str:
    """A value as one line of text, control characters replaced."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:,.1f}"  # NaN and infinities too
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(plain(value), ensure_ascii=False)
    return _CONTROL.sub(" ", str(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], most: int = CELL_MOST) -> str:
    """Rows under their column names, aligned; numbers to the right. Cells longer than `most` end in an ellipsis."""
    from rich.cells import cell_len

    given = [list(row) for row in rows]
    texts = [[_cut(cell(value), most) for value in row] for row in given]
    numeric = [_is_numeric(row[i] for row in given) for i in range(len(columns))]
    names = [_cut(cell(name), most) for name in columns]
    widths = [max(cell_len(text) for text in column) for column in zip(names, *texts, strict=True)]
    lines = [names, ["─" * width for width in widths], *texts]
    return "\n".join(_line(line, widths, numeric) for line in lines)


def facts(pairs: Iterable[tuple[str, Any]], indent: int = 2) -> str:
    """Names and values in two columns; counts with thousands separators."""
    shown = [(name, count(value) if isinstance(value, int) else cell(value)) for name, value in pairs]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{' ' * indent}{name:<{width}}  {value}".rstrip() for name, value in shown)


def count(value: float | None) -> str:
    """A count with thousands separators."""
    return "–" if value is None else f"{value:,}"


def score(value: float | None) -> str:
    """A score between 0 and 1 with three decimals."""
    return "–" if value is None else f"{value:.3f}"


def _cut(text: str, most: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= most else set_cell_size(text, most - 1).rstrip() + "…"


def _is_numeric(values: Iterable[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in known
    )


def _line(texts: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    from rich.cells import cell_len

    padded = [
        " " * (width - cell_len(text)) + text if right else text + " " * (width - cell_len(text))
        for text, width, right in zip(texts, widths, numeric, strict=True)
    ]
    return "  ".join(padded).rstrip()
