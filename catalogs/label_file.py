"""Files in which people have labelled products: read as any source is, every row with the line that it stands in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from catalogs import readers, sources
from catalogs.normalise import normalise
from catalogs.product import KNOWN_PATH, PRODUCT_ID, SOURCE_ROW
from catalogs.spec import CatalogSpec, FieldSpec, LabelSpec
from core.errors import SourceMissing, UsageError

__all__ = ["LABELLED", "LabelFile", "Problem", "read_labels"]

LABELLED = ["catalog", PRODUCT_ID, "label", "labelled_by", "why"]
"""Columns that are read, whatever else is there; the first three are needed."""

_SHAPE = CatalogSpec(
    name="labels",
    title="Labels given by people",
    id=PRODUCT_ID,
    label=LabelSpec(column="label"),
    fields=[
        FieldSpec(name="why", kind="text", optional=True),
        FieldSpec(name="of_catalog", column="catalog", kind="keyword", optional=False),
    ],
    keep=["labelled_by"],
)
"""Such a file as if it were a catalogue's."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row: in which line, and column where it is one, what stands there, and what to do."""

    line: int
    column: str | None
    value: str | None
    what: str

    def __str__(self) -> str:
        column = "" if self.column is None else f", column {self.column}"
        value = "" if self.value is None else f" '{self.value}'"
        return f"line {self.line:,}{column}{value}: {self.what}"


@dataclass(frozen=True)
class LabelFile:
    """What people have written.

    Attributes:
        path: the file.
        rows: `LABELLED` and source_row: a line of the file, a row in Parquet. Values are trimmed, null where empty.
        problems: rows that cannot be read.
    """

    path: Path
    rows: pl.DataFrame
    problems: list[Problem]

    @property
    def labelled(self) -> pl.DataFrame:
        """The rows that have a label; the others were left for later."""
        return self.rows.filter(pl.col("label").is_not_null())


def read_labels(path: Path) -> LabelFile:
    """Read such a file: CSV, TSV, JSON lines or Parquet, by its name.

    Raises:
        SourceError: one of its kinds: there is no such file, it is not of its format, not UTF-8, or lacks a column.
        UsageError: a folder.
    """
    if path.is_dir():
        raise UsageError("is a folder", where=str(path), hint="name one file of labels")
    if not path.is_file():
        raise SourceMissing("no such file", where=str(path), hint="name a file that `aisle review export` wrote")
    [file] = sources.resolve(str(path), _SHAPE, path.parent)
    frames, problems = [], []
    for batch in readers.read(file, _SHAPE, need_label=True):
        rows = normalise(batch.frame, _SHAPE, file.name, digests=False)
        frames.append(
            rows.select(
                SOURCE_ROW,
                pl.col("of_catalog").alias("catalog"),
                PRODUCT_ID,
                pl.col(KNOWN_PATH).list.first().alias("label"),
                pl.col("labelled_by"),
                pl.col("why").str.strip_chars(),
            )
        )
        problems += [Problem(line, None, None, "; ".join(why)) for line, _, why in batch.rejects.iter_rows()]
    return LabelFile(path, pl.concat(frames), problems)
