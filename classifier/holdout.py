"""Who is held out, and which fold a row is in: decided by its text's digest alone, so it never changes between runs."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["folds", "holdout_bound", "holdout_mask", "nested_mask"]

# A digest is uniform, so its digits are as good as a draw. Different digits decide the hold-out, the folds and the
# parts of a learning curve: they must not depend on each other.
_HOLDOUT_DIGITS = slice(0, 8)
_FOLD_DIGITS = slice(8, 16)
_PART_DIGITS = slice(16, 24)
_RANGE = 16**8


def holdout_mask(text_hash: pl.Series, share: float) -> pl.Series:
    """Which rows are held out of training: those whose digest falls into the first `share` of all digests.

    Rows with the same text are always on the same side, in every run and every file.

    Args:
        text_hash: hex digests of the normalised text, at least 16 digits.
        share: expected share of distinct texts that is held out, 0 to 1.
    """
    return (pl.Series(_number(text_hash, _HOLDOUT_DIGITS)) < holdout_bound(share)).rename("holdout")


def holdout_bound(share: float) -> int:
    """A row is held out when the first eight hex digits of its digest are a number below this; for SQL."""
    return round(share * _RANGE)


def folds(text_hash: pl.Series, count: int) -> NDArray[np.int64]:
    """Fold (0 … count-1) of each row; rows with the same text share a fold."""
    return _number(text_hash, _FOLD_DIGITS) * count // _RANGE


def nested_mask(text_hash: pl.Series, share: float) -> pl.Series:
    """Which rows are in a part of about this share of distinct texts; a larger part holds every smaller one.

    Args:
        text_hash: hex digests of the normalised text, at least 24 digits.
        share: 0 to 1.
    """
    return (pl.Series(_number(text_hash, _PART_DIGITS)) < holdout_bound(share)).rename("part")


def _number(text_hash: pl.Series, digits: slice) -> NDArray[np.int64]:
    part = text_hash.str.slice(digits.start, digits.stop - digits.start)
    return part.str.to_integer(base=16, dtype=pl.Int64).to_numpy()
