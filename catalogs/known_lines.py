"""Lines that were stored before, letter for letter: what became of them is known, and need not be found out again.

A line is known by a digest of its bytes and of all that decides what becomes of it. The digests lie sorted in a file
that workers map into memory: a search touches a few pages of it, and all workers of a machine share them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from catalogs.product import SOURCE_ROW

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["KNOWN", "LINES", "LINE_DIGEST", "KnownLines", "line_key", "to_remember"]

LINE_DIGEST: dict[str, Any] = {"line_a": pl.Int64, "line_b": pl.Int64}
"""Half of a sha256 as two columns. Its last bit is no part of the digest: it says whether the line names a label."""

LINES: dict[str, Any] = {SOURCE_ROW: pl.Int64, **LINE_DIGEST}
"""Lines of a file."""

KNOWN = "known"

_NO_MATTER = {
    *("title", "licence", "load", "max_vanished", "accept", "gate", "holdout", "recipe", "recipes", "drift"),
    *("retrain", "freshness", "contract"),
}
"""Keys of a TOML that have no say in what becomes of a line; a new key has one, until it is listed here."""

_FORM = 1
"""To be raised when the same line, catalogue and Polars lead to another product than before."""


def line_key(spec: CatalogSpec) -> bytes:
    """What decides, beside its bytes, what becomes of a line: the catalogue's rules, and what applies them."""
    rules = spec.model_dump_json(exclude=_NO_MATTER)
    return hashlib.sha256(f"{_FORM} {pl.__version__} {rules}".encode()).digest()


@dataclass(frozen=True)
class KnownLines:
    """The lines that are known of a catalogue; plain, so that it can travel to workers.

    Attributes:
        path: a (2, lines) array of int64 in numpy's format, LINE_DIGEST sorted by its first part; None: there are none.
            Where it is not to be seen no line is known, which is always right, and only slower.
        key: as `line_key`.
        first: whether no file is read before this one. A line without a label means the label that its product has,
            and a file before it may change that: there, it is known only behind a line with a label.
    """

    path: str | None
    key: bytes
    first: bool

    @staticmethod
    def write(path: Path, lines: pl.DataFrame) -> None:
        """Write the file for `path` from the columns of LINE_DIGEST."""
        np.save(path, lines.select(*LINE_DIGEST).sort("line_a").to_numpy().T.copy())

    def look_up(self, lines: Sequence[bytes]) -> pl.DataFrame:
        """LINE_DIGEST and KNOWN of lines, in order; the mark of a label stands at known ones only."""
        digests = self._digests(lines)
        known = np.zeros(len(lines), bool)
        if self._lines.shape[1]:
            first, second = self._lines
            found = second[places := np.minimum(np.searchsorted(first, digests[:, 0]), first.size - 1)]
            known = (first[places] == digests[:, 0]) & (found & ~1 == digests[:, 1])
            digests[:, 1] |= np.where(known, found & 1, 0)
        return pl.DataFrame(digests, schema=LINE_DIGEST).with_columns(pl.Series(KNOWN, known))

    def _digests(self, lines: Sequence[bytes]) -> NDArray[np.int64]:
        start, made = hashlib.sha256(self.key), []
        for line in lines:
            digest = start.copy()
            digest.update(line)
            made.append(digest.digest()[:16])
        digests = np.frombuffer(b"".join(made), dtype="<i8").reshape(-1, 2).astype(np.int64)
        digests[:, 1] &= ~1
        return digests

    @cached_property
    def _lines(self) -> NDArray[np.int64]:
        none: NDArray[np.int64] = np.empty((2, 0), np.int64)
        try:
            return none if self.path is None else np.load(self.path, mmap_mode="r")
        except FileNotFoundError:  # on another machine; if that one shares no disk, its staged rows will be missed
            return none


def to_remember(rows: pl.DataFrame, spec: CatalogSpec, told: Iterable[pl.Series]) -> pl.DataFrame:
    """LINES of the rows that need not be read again, once they are stored.

    Args:
        rows: as `RawBatch.frame`; from a format without lines, nothing is to be remembered.
        spec: the catalogue.
        told: source_row of rows that somebody is warned of: they are to be told of again.
    """
    if not set(LINE_DIGEST) <= set(rows.columns):
        return pl.DataFrame(schema=LINES)
    given = [pl.col(column).is_not_null() for column in spec.label.source_columns]
    labelled = pl.all_horizontal(given)
    plain = rows.filter(labelled | ~pl.any_horizontal(given))  # half a path may be what condemns its file
    for rows_told in told:
        plain = plain.filter(~pl.col(SOURCE_ROW).is_in(rows_told.implode()))
    return plain.select(SOURCE_ROW, "line_a", pl.col("line_b") | labelled.cast(pl.Int64))
