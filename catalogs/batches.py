"""What every reader hands on: batches of raw rows with their rejects, and the verdict on a file as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from catalogs.known_lines import LINES
from catalogs.product import RAW, SOURCE_ROW
from core.errors import ColumnMissing, SourceEmpty, SourceEncoding, SourceFormat, closest, did_you_mean

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = [
    "Format",
    "RawBatch",
    "Rejects",
    "SourceFile",
    "missing_labels",
    "raw_schema",
    "refuse_missing",
    "required_columns",
    "whole_file_checked",
]

Format = Literal["jsonl", "csv", "tsv", "parquet"]

# Share of lines that are not UTF-8 above which the file is not UTF-8, rather than a few lines damaged.
MOST_UNDECODED = 0.01
# From this many lines on, a file is given up as soon as half of what was read is not of its format.
ENOUGH_LINES_TO_GIVE_UP = 10_000

REJECTS_SCHEMA: dict[str, pl.DataType] = {
    SOURCE_ROW: pl.Int64(),
    RAW: pl.String(),
    "reasons": pl.List(pl.String),
}


@dataclass(frozen=True)
class SourceFile:
    """One file to read.

    Attributes:
        path: where it lies on this machine.
        name: what the user called it; stands in every error and row.
        format: how it is written.
        compressed: whether it is gzip.
    """

    path: Path
    name: str
    format: Format
    compressed: bool = False


@dataclass(frozen=True)
class RawBatch:
    """Some consecutive rows of a source file.

    Attributes:
        frame: source_row, raw and the spec's source_columns: String, or List(String) for list columns; null where
            the row or the file has none. Also `known_lines.LINE_DIGEST` where lines are to be known again.
        rejects: source_row, raw, reasons: rows that could not be read.
        read: rows seen; always frame.height + rejects.height + known.height.
        known: `known_lines.LINES` that were stored before: they are not in `frame`.
        undecoded: rejects that are not UTF-8.
        malformed: rejects that are not of the file's format.
        unlabelled: label columns that the file did not have up to here; only the last batch knows for certain.
    """

    frame: pl.DataFrame
    rejects: pl.DataFrame
    read: int
    undecoded: int = 0
    malformed: int = 0
    unlabelled: tuple[str, ...] = ()
    known: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LINES))


@dataclass
class Rejects:
    """Rows that cannot be read, collected while a batch is made."""

    rows: list[tuple[int, str, list[str]]] = field(default_factory=list)
    undecoded: int = 0
    malformed: int = 0

    def add_undecoded(self, row: int, line: bytes) -> None:
        """A line that is not UTF-8."""
        try:
            line.decode()
        except UnicodeDecodeError as error:
            self.undecoded += 1
            reason = f"not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1}"
            self.rows.append((row, line.decode(errors="replace"), [reason]))

    def add_malformed(self, row: int, raw: str, reason: str) -> None:
        """A line that is not of the file's format."""
        self.malformed += 1
        self.rows.append((row, raw, [reason]))

    def add_too_long(self, row: int, head: bytes, most_bytes: int) -> None:
        """A line beyond AISLE_MAX_LINE_MIB, of which only the start was kept."""
        reason = f"the line is longer than {most_bytes >> 20} MiB (AISLE_MAX_LINE_MIB); only its start is kept"
        self.rows.append((row, head.decode(errors="replace"), [reason]))

    def batch(self, frame: pl.DataFrame, unlabelled: tuple[str, ...] = ()) -> RawBatch:
        """The batch of these rejects and the rows that could be read."""
        self.rows.sort(key=lambda row: row[0])
        rejects = pl.DataFrame(self.rows, schema=REJECTS_SCHEMA, orient="row")
        read = frame.height + rejects.height
        return RawBatch(frame, rejects, read, self.undecoded, self.malformed, unlabelled)


def raw_schema(spec: CatalogSpec) -> dict[str, pl.DataType]:
    """Columns of `RawBatch.frame`, in order."""
    lists = set(spec.list_columns)
    columns = {column: pl.List(pl.String) if column in lists else pl.String() for column in spec.source_columns}
    return {SOURCE_ROW: pl.Int64(), RAW: pl.String(), **columns}


def required_columns(spec: CatalogSpec, *, need_label: bool) -> list[str]:
    """Source columns without which a file is refused."""
    columns = [] if spec.id is None else [spec.id]
    columns += [field.column for field in spec.fields if field.required]
    return list(dict.fromkeys(columns + (spec.label.source_columns if need_label else [])))


def refuse_missing(present: Iterable[str], required: Iterable[str], name: str, *, place: str) -> None:
    """Raise ColumnMissing when a required column is not among those present.

    Args:
        present: columns of the file.
        required: columns that it must have.
        name: the file.
        place: what the columns stand in, for the message ("header", "first 1,000 lines").
    """
    there = list(present)
    missing = [column for column in required if column not in there]
    if missing:
        what = "column" if len(missing) == 1 else "columns"
        hints = [did_you_mean(column, there) for column in missing]
        listed = ", ".join(f"'{column}'" for column in missing)
        raise ColumnMissing(f"no {what} {listed} in the {place}", where=name, hint=" ".join(dict.fromkeys(hints)))


def missing_labels(present: Iterable[str], spec: CatalogSpec, name: str, *, place: str) -> tuple[str, ...]:
    """Label columns that are not among those present.

    Raises:
        ColumnMissing: one is missing, and a column that the catalogue does not know is called nearly so: a mistyped
            label column would pass for products that nobody has labelled. Or some columns of a path are there and
            others are not: the labels would end early, and cut those that are stored.
    """
    there = set(present)
    missing = tuple(column for column in spec.label.source_columns if column not in there)
    strange = there - {*spec.source_columns, *spec.forbidden}
    for column in missing:
        if near := closest(column, strange):
            text = f"no column '{column}' in the {place}, but '{near[0]}'"
            hint = f"call it {column} if it holds the label; if not, list it under forbidden in the catalogue's TOML"
            raise ColumnMissing(text, where=name, hint=hint)
    if missing and len(missing) < len(spec.label.source_columns):
        listed = ", ".join(f"'{column}'" for column in missing)
        text = f"no {'column' if len(missing) == 1 else 'columns'} {listed} in the {place}, but others of the label"
        columns = ", ".join(spec.label.source_columns)
        raise ColumnMissing(text, where=name, hint=f"give all columns of the label ({columns}) or none of them")
    return missing


def whole_file_checked(batches: Iterator[RawBatch], file: SourceFile) -> Iterator[RawBatch]:
    """The same batches; raises when the file as a whole is empty, not UTF-8 or not of its format.

    One bad line never condemns a file that has a good one.
    """
    read = undecoded = malformed = good = 0
    example: str | None = None
    for batch in batches:
        read, good = read + batch.read, good + batch.frame.height + batch.known.height
        undecoded, malformed = undecoded + batch.undecoded, malformed + batch.malformed
        if example is None and batch.malformed + batch.undecoded:
            example = _first_reason(batch.rejects)
        if read >= ENOUGH_LINES_TO_GIVE_UP and (undecoded + malformed) * 2 >= read:
            break
        yield batch
    if read == 0:
        raise SourceEmpty("no rows in it", where=file.name, hint="check what wrote the file")
    if undecoded > read * MOST_UNDECODED and (undecoded > 1 or not good):
        text = f"not UTF-8: {undecoded:,} of {read:,} lines cannot be decoded"
        hint = "save it as UTF-8, for example: iconv -f LATIN1 -t UTF-8"
        raise SourceEncoding(text, where=file.name, hint=hint)
    bad = malformed + undecoded
    if bad * 2 >= read and (bad > 1 or not good):
        text = f"not {file.format}: {bad:,} of {read:,} rows cannot be read. The first: {example}"
        hint = "check the file's format; [source] in the catalogue's TOML declares another one"
        raise SourceFormat(text, where=file.name, hint=hint)


def _first_reason(rejects: pl.DataFrame) -> str:
    first = rejects.row(0, named=True)
    return f"line {first[SOURCE_ROW]}: {first['reasons'][0]}"
