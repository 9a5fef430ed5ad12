"""Reading a source file as batches of raw rows, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from catalogs import delimited, jsonl, parquet
from catalogs.batches import RawBatch, SourceFile, whole_file_checked
from catalogs.lines import ahead
from core.settings import get_settings

if TYPE_CHECKING:
    from catalogs.known_lines import KnownLines
    from catalogs.spec import CatalogSpec

__all__ = ["RawBatch", "read"]


def read(
    file: SourceFile,
    spec: CatalogSpec,
    batch_rows: int | None = None,
    *,
    need_label: bool = False,
    known: KnownLines | None = None,
) -> Iterator[RawBatch]:
    """Batches of one file, in order; memory is bounded by the batch, of which two are held.

    Args:
        file: as `sources.resolve` gives it.
        spec: the catalogue; its source_columns are read.
        batch_rows: most rows of a batch (default: AISLE_BATCH_ROWS); a batch also ends at about 64 MiB.
        need_label: whether a file without the label column is refused.
        known: lines that were stored before, which need not be read; only in JSON lines, of which each is a row.

    Raises:
        SourceError: one of its kinds, while iterating: up to the end, the file may turn out unusable as a whole.
    """
    rows = batch_rows or get_settings().batch_rows
    if file.format == "jsonl":
        batches = jsonl.batches(file, spec, rows, need_label=need_label, known=known)
    else:
        make = parquet.batches if file.format == "parquet" else delimited.batches
        batches = make(file, spec, rows, need_label=need_label)
    return whole_file_checked(ahead(batches), file)
