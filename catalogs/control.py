"""Control characters but tab, line feed and carriage return: in a product's text each becomes a space.

Nearly no text has one, and of nearly all columns their bytes say so sooner than a regular expression would.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["CONTROL", "has_control", "without_control"]

CONTROL = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]"
"""C0 and C1 control characters but tab, line feed and carriage return."""

# The same in UTF-8: single bytes, and second bytes behind 0xC2.
_ALONE = bytes(byte for byte in range(0x80) if re.match(CONTROL, chr(byte)))
_PAIR = re.compile(b"\xc2[\x80-\x9f]")

_SPACE, _DELETE, _FIRST_OF_PAIR, _LAST_SECOND_OF_PAIR = 0x20, 0x7F, 0xC2, 0x9F

_MOST_BYTES = 64 << 20
"""Of a column whose bytes are looked at: they are copied for it, and Polars has no text of 4 GiB."""


def has_control(data: bytes) -> bool:
    """Whether a text, in UTF-8, has a control character."""
    return len(data.translate(None, _ALONE)) != len(data) or _PAIR.search(data) is not None


def without_control(texts: pl.Series) -> pl.Series:
    """A column of texts with a space for every control character."""
    lengths = texts.str.len_bytes().fill_null(0).cast(pl.Int64)
    if lengths.sum() > _MOST_BYTES:
        return texts.str.replace_all(CONTROL, " ")
    data = np.frombuffer(texts.str.join().cast(pl.Binary).item() or b"", np.uint8)
    places = _places(data)
    if not places.size:
        return texts
    rows = pl.Series(np.unique(np.searchsorted(lengths.to_numpy().cumsum(), places, side="right")))
    return texts.clone().scatter(rows, texts.gather(rows).str.replace_all(CONTROL, " "))


def _places(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where in UTF-8 a control character begins."""
    alone = data < _SPACE
    for kept in b"\t\n\r":
        alone &= data != kept
    alone |= data == _DELETE
    pairs = np.flatnonzero(data == _FIRST_OF_PAIR)
    return np.concatenate([np.flatnonzero(alone), pairs[data[pairs + 1] <= _LAST_SECOND_OF_PAIR]])
