"""The three digests of a product: what groups a hold-out, what decides a re-score, what decides a re-store.

Each is taken of one text that only the same values give. They are written here twice, for whole columns and for
single rows, because a model asked for one product cannot wait for the machinery of a column; a test holds them equal.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from catalogs.letter_case import lowered
from catalogs.product import FEATURE_HASH, KNOWN_PATH, PRODUCT_ID, ROW_HASH, TEXT_HASH

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["add_digests", "add_product_id", "text_hashes", "with_digests", "with_product_id", "with_row_hash"]

# Between values, between the entries of a list, and for "no value": no normalised value can hold them.
_VALUE_END, _ENTRY_END, _NO_VALUE = "\x1f", "\x1e", "\x00"

# Two plain patterns: one with every kind of space in Unicode is eight times as slow.
_OTHER_SPACES, _RUN_OF_SPACES = "[\t\n\r\xa0]", " {2,}"
_FOLD = re.compile("[\t\n\r\xa0 ]+")


def text_hashes(frame: pl.DataFrame, spec: CatalogSpec) -> pl.Series:
    """The text_hash of canonical products, by the text fields of this spec."""
    return _digests(frame, TEXT_HASH, _grouping_text(spec), _text_digest)


def with_digests(frame: pl.DataFrame, spec: CatalogSpec) -> pl.DataFrame:
    """The frame with text_hash, feature_hash and row_hash; product_id is the text_hash where there is no id column."""
    text_hash = text_hashes(frame, spec)
    features = pl.concat_str(pl.lit(_shape(spec)), _joined_values(spec.field_names, frame))
    feature_hash = _digests(frame, FEATURE_HASH, features, _full_digest)
    frame = frame.with_columns(text_hash, feature_hash)
    if spec.id is None:
        frame = frame.with_columns(pl.col(TEXT_HASH).alias(PRODUCT_ID))
    return with_row_hash(frame, spec)


def with_product_id(frame: pl.DataFrame, spec: CatalogSpec) -> pl.DataFrame:
    """The frame with its product_id, which is the text_hash where there is no id column, and no other digest."""
    if spec.id is not None:
        return frame
    return frame.with_columns(_digests(frame, PRODUCT_ID, _grouping_text(spec), _text_digest))


def with_row_hash(frame: pl.DataFrame, spec: CatalogSpec) -> pl.DataFrame:
    """The frame, whose other digests are there, with the row_hash of its values."""
    stored = _joined_values(_stored(spec), frame)
    return frame.with_columns(_digests(frame, ROW_HASH, stored, _full_digest))


def add_digests(product: dict[str, Any], spec: CatalogSpec) -> None:
    """`with_digests` of a single product, in place."""
    product[TEXT_HASH] = _text_hash(product, spec)
    product[FEATURE_HASH] = _full_digest(_shape(spec).encode() + _joined(product, spec.field_names))
    if spec.id is None:
        product[PRODUCT_ID] = product[TEXT_HASH]
    product[ROW_HASH] = _full_digest(_joined(product, _stored(spec)))


def add_product_id(product: dict[str, Any], spec: CatalogSpec) -> None:
    """`with_product_id` of a single product of a catalogue without an id column, in place."""
    product[PRODUCT_ID] = _text_hash(product, spec)


def _text_hash(product: Mapping[str, Any], spec: CatalogSpec) -> str:
    text = " ".join(product[name] for name in spec.text_fields if product[name] is not None)
    return _text_digest(_FOLD.sub(" ", lowered(text)).strip().encode())


def _shape(spec: CatalogSpec) -> str:
    """Fields and their kinds: the same values read in another way are other features."""
    return "".join(f"{field.name}{_ENTRY_END}{field.kind}{_VALUE_END}" for field in spec.fields)


def _stored(spec: CatalogSpec) -> list[str]:
    """What a stored product consists of; feature_hash stands for the fields."""
    return [FEATURE_HASH, PRODUCT_ID, KNOWN_PATH, *spec.keep]


def _grouping_text(spec: CatalogSpec) -> pl.Expr:
    """All text of a product, lower-cased, with every run of spaces, tabs and line ends as one space."""
    text = pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True).str.to_lowercase()
    return text.str.replace_all(_OTHER_SPACES, " ").str.replace_all(_RUN_OF_SPACES, " ").str.strip_chars()


def _joined_values(columns: Sequence[str], frame: pl.DataFrame) -> pl.Expr:
    parts = []
    for column in columns:
        kind, value = frame.schema[column], pl.col(column)
        if kind == pl.Float64:
            value = value.map_batches(_bits, return_dtype=pl.Int64).cast(pl.String)
        elif kind == pl.List(pl.String):
            value = value.list.join(_ENTRY_END)
        parts.append(value.fill_null(_NO_VALUE))
    return pl.concat_str(parts, separator=_VALUE_END)


def _joined(product: Mapping[str, Any], columns: Sequence[str]) -> bytes:
    parts = []
    for column in columns:
        value = product[column]
        if value is None:
            value = _NO_VALUE
        elif isinstance(value, float):
            value = str(struct.unpack("<q", struct.pack("<d", value))[0])
        elif isinstance(value, list):
            value = _ENTRY_END.join(value)
        parts.append(value)
    return _VALUE_END.join(parts).encode()


def _bits(values: pl.Series) -> pl.Series:
    """Numbers by their bits: how a library formats them may change, and would change every digest."""
    bits = pl.Series(values.fill_null(0.0).to_numpy().view("int64"))
    return bits.set(values.is_null(), None)


def _digests(frame: pl.DataFrame, name: str, text: pl.Expr, digest: Callable[[bytes], str]) -> pl.Series:
    values = frame.select(text.cast(pl.Binary).alias(name)).to_series().to_list()
    return pl.Series(name, list(map(digest, values)), dtype=pl.String)


def _text_digest(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest()


def _full_digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
