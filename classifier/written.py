"""Texts as the compiled loops read them: UTF-8, one after the other, in one array of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from catalogs.letter_case import lowered_texts

__all__ = ["Values", "Written", "is_empty", "written"]

# A field's values: a column of many products, or plain values of a few, for which starting Polars would take longest.
Values: TypeAlias = pl.Series | Sequence[object]

_JOINED_BYTES = 1 << 30


class Written(NamedTuple):
    """Some texts.

    Attributes:
        data: all their bytes (uint8).
        ends: where each text ends in `data` (int64).
    """

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]


def written(texts: Values, *, lowercase: bool = False) -> Written:
    """The bytes of texts; a null is an empty text."""
    if isinstance(texts, pl.Series):
        texts = texts if texts.dtype == pl.String else texts.cast(pl.String)
        texts = texts.str.to_lowercase() if lowercase else texts
        lengths = texts.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy()
        whole = _joined(texts, lengths.cumsum())
    else:
        named = ["" if text is None else str(text) for text in texts]
        pieces = [text.encode(errors="replace") for text in (lowered_texts(named) if lowercase else named)]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        whole = bytearray().join(pieces)
    return Written(np.frombuffer(whole, dtype=np.uint8), lengths.cumsum())


def _joined(texts: pl.Series, ends: NDArray[np.int64]) -> bytearray:
    """All texts as one; joined by Polars in parts, because it has no text of 4 GiB."""
    bytes_ = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(_JOINED_BYTES, bytes_, _JOINED_BYTES), side="right")
    parts = (texts[first:last] for first, last in pairwise([0, *cuts.tolist(), len(texts)]))
    return bytearray().join(part.str.join().cast(pl.Binary).item() or b"" for part in parts)


def is_empty(values: Values) -> bool:
    """Whether no product has a value, so that the field adds nothing."""
    if isinstance(values, pl.Series):
        return values.null_count() == len(values)
    return not any(value is not None for value in values)
