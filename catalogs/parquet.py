"""Parquet files, row group by row group, every column as text or list of texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from catalogs.batches import (
    RawBatch,
    Rejects,
    SourceFile,
    missing_labels,
    raw_schema,
    refuse_missing,
    required_columns,
)
from catalogs.product import RAW, SOURCE_ROW
from core.errors import SourceCorrupt

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["batches"]

# Whole numbers up to here are exact as floats.
_EXACT = 2.0**53


def batches(file: SourceFile, spec: CatalogSpec, batch_rows: int, *, need_label: bool) -> Iterator[RawBatch]:
    """Batches of one file; source_row is the row's number, 1-based.

    Raises:
        SourceCorrupt: damaged or truncated.
        ColumnMissing: a required column is not in it, or a label column by a mistyped name.
    """
    scan = pl.scan_parquet(file.path, glob=False, hive_partitioning=False)
    try:
        stored = dict(scan.collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(file.name, error) from error
    # Header names may have spaces around them here too.
    names = {column.strip(): column for column in reversed(stored)}
    refuse_missing(names, required_columns(spec, need_label=need_label), file.name, place="Parquet schema")
    unlabelled = missing_labels(names, spec, file.name, place="Parquet schema")
    columns = [
        _as_declared(names[column], stored[names[column]], kind).alias(column)
        if column in names and _readable(stored[names[column]])
        else pl.lit(None, dtype=kind).alias(column)
        for column, kind in raw_schema(spec).items()
        if column not in (SOURCE_ROW, RAW)
    ]
    raw = _raw(stored).alias(RAW)
    row = 1
    try:
        for part in scan.collect_batches(chunk_size=batch_rows, maintain_order=True):
            numbers = pl.int_range(row, row + part.height, dtype=pl.Int64).alias(SOURCE_ROW)
            frame = part.select(numbers, raw, *columns)
            yield Rejects().batch(frame, unlabelled)
            row += part.height
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(file.name, error) from error


def _raw(stored: dict[str, pl.DataType]) -> pl.Expr:
    """The row as JSON, as far as it can be written so: bytes that are a column of their own as the text they hold."""
    values = [
        _as_text(pl.col(column), kind).alias(column) if kind == pl.Binary else pl.col(column)
        for column, kind in stored.items()
        if _readable(kind)
    ]
    return pl.struct(values).struct.json_encode() if values else pl.lit("{}")


def _readable(kind: pl.DataType) -> bool:
    """Whether values of that type can be had as text: bytes can, but not inside of lists and structs."""
    return kind == pl.Binary or not _holds_bytes(kind)


def _holds_bytes(kind: pl.DataType) -> bool:
    """Whether bytes are somewhere in values of that type: they cannot be written as JSON (images, for example)."""
    if isinstance(kind, pl.Struct):
        return any(_holds_bytes(field.dtype) for field in kind.fields)  # type: ignore[arg-type]
    if isinstance(kind, pl.List | pl.Array):
        return _holds_bytes(kind.inner)  # type: ignore[arg-type]
    return kind == pl.Binary


def _as_declared(name: str, stored: pl.DataType, kind: pl.DataType) -> pl.Expr:
    """The column as text or list of texts, whatever it is stored as."""
    if isinstance(stored, pl.List | pl.Array):
        column = pl.col(name).arr.to_list() if isinstance(stored, pl.Array) else pl.col(name)
        entries = column.list.eval(_as_text(pl.element(), stored.inner).drop_nulls())  # type: ignore[arg-type]
        return entries if kind == pl.List(pl.String) else entries.list.join(" ")
    text = _as_text(pl.col(name), stored)
    # A text column where a list is declared: a list of one.
    return pl.when(text.is_not_null()).then(pl.concat_list(text)) if kind == pl.List(pl.String) else text


def _as_text(value: pl.Expr, stored: pl.DataType) -> pl.Expr:
    if stored.is_float():
        # Ids and years often come as floats: no needless ".0".
        whole = (value == value.floor()) & (value.abs() < _EXACT)
        text = pl.when(whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))
        return pl.when(value.is_finite()).then(text)
    if isinstance(stored, pl.Struct):
        return value.struct.json_encode()
    if stored == pl.Binary:
        return value.map_batches(_decoded, return_dtype=pl.String)
    return value.cast(pl.String)


def _decoded(values: pl.Series) -> pl.Series:
    """Bytes as UTF-8 text; null where they are none."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        # One such value fails the column, with strict=False too.
        return pl.Series(values.name, [_text_of(value) for value in values], dtype=pl.String)


def _text_of(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _damaged(name: str, error: Exception) -> SourceCorrupt:
    why = str(error).strip().splitlines()[0]
    return SourceCorrupt(f"damaged Parquet: {why}", where=name, hint="fetch or write the file again")
