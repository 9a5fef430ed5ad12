"""The canonical product: names and types of its columns, and how a label path is written as one string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, Kind

__all__ = [
    "DIGESTS",
    "FEATURE_HASH",
    "KNOWN_PATH",
    "PATH_SEPARATOR",
    "PRODUCT_ID",
    "RAW",
    "ROW_HASH",
    "SOURCE_FILE",
    "SOURCE_ROW",
    "TEXT_HASH",
    "join_path",
    "join_paths",
    "schema",
    "split_path",
]

SOURCE_FILE = "source_file"
SOURCE_ROW = "source_row"
PRODUCT_ID = "product_id"
KNOWN_PATH = "known_path"
TEXT_HASH = "text_hash"
FEATURE_HASH = "feature_hash"
ROW_HASH = "row_hash"
RAW = "raw"

DIGESTS = (TEXT_HASH, FEATURE_HASH, ROW_HASH)

PATH_SEPARATOR = " > "


def join_path(path: Sequence[str] | None) -> str | None:
    """A label path as one string, `Apparel > Topwear > Shirts`; None stays None."""
    return None if path is None else PATH_SEPARATOR.join(path)


def join_paths(path: str | pl.Expr = KNOWN_PATH) -> pl.Expr:
    """`join_path` of a whole column."""
    return (pl.col(path) if isinstance(path, str) else path).list.join(PATH_SEPARATOR)


def split_path(label: str | None) -> list[str] | None:
    """The inverse of `join_path`, for labels whose entries do not hold the separator themselves."""
    return None if label is None else label.split(PATH_SEPARATOR)


def field_type(kind: Kind) -> pl.DataType:
    """Stored type of a field of that kind."""
    if kind == "number":
        return pl.Float64()
    return pl.List(pl.String) if kind == "ids" else pl.String()


def schema(spec: CatalogSpec) -> dict[str, pl.DataType]:
    """Columns of a stored product, in order."""
    return {
        SOURCE_FILE: pl.String(),
        SOURCE_ROW: pl.Int64(),
        PRODUCT_ID: pl.String(),
        KNOWN_PATH: pl.List(pl.String),
        **{field.name: field_type(field.kind) for field in spec.fields},
        **{column: pl.String() for column in spec.keep},
        TEXT_HASH: pl.String(),
        FEATURE_HASH: pl.String(),
        ROW_HASH: pl.String(),
    }
