"""Raw rows as canonical products: clean values, label paths, and the three digests that tell rows apart.

Text stays as the source wrote it but for HTML entities (where the field asks for it) and control characters, which
become spaces: neither splits nor joins a word.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from catalogs.control import without_control
from catalogs.digests import with_digests, with_product_id
from catalogs.hosts import host
from catalogs.jsonl import as_declared, frame_of_records
from catalogs.numbers import numbers
from catalogs.product import DIGESTS, KNOWN_PATH, PRODUCT_ID, RAW, SOURCE_FILE, SOURCE_ROW, schema
from catalogs.records import product_of
from catalogs.values import as_text

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, FieldSpec

__all__ = ["normalise", "normalise_records", "unread_numbers"]

# Up to here one product after the other is quicker than a frame: the fixed price of Polars is that of 250 products.
MOST_RECORDS_ONE_BY_ONE = 250

_COMMON_ENTITIES = {"&amp;": "&", "&quot;": '"', "&#39;": "'", "&lt;": "<", "&gt;": ">", "&nbsp;": "\xa0"}


def normalise(raw_frame: pl.DataFrame, spec: CatalogSpec, source_file: str, *, digests: bool = True) -> pl.DataFrame:
    """The canonical frame of `product.schema`, with `raw` as a last column.

    Args:
        raw_frame: as `RawBatch.frame`.
        spec: the catalogue.
        source_file: name of the file as the user gave it.
        digests: whether the frame is to have them; products that are only asked about need none.

    Labels that the task does not have (`label.ignored`) are gone; a label that is not allowed stays, for the rules to
    reject. Without an id column, product_id is the text_hash.
    """
    cleaned = raw_frame.select(
        pl.lit(source_file, pl.String).alias(SOURCE_FILE),
        SOURCE_ROW,
        (pl.lit(None, pl.String) if spec.id is None else _trimmed(_text(spec.id, spec))).alias(PRODUCT_ID),
        _known_path(raw_frame, spec).alias(KNOWN_PATH),
        *(_cleaned(field, spec).alias(field.name) for field in spec.fields),
        *(_trimmed(_text(column, spec)).alias(column) for column in spec.keep),
        RAW,
    )
    # A step of its own: Polars would evaluate the cleaning once more for every time it is named in an expression.
    tokens = [PRODUCT_ID, *(field.name for field in spec.fields if field.kind == "keyword"), *spec.keep]
    lists = [field.name for field in spec.fields if field.kind == "ids"]
    frame = cleaned.with_columns(
        *(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in tokens),
        *(pl.when(pl.col(name).str.contains(r"\S")).then(pl.col(name)).alias(name) for name in spec.text_fields),
        *(pl.when(pl.col(name).list.len() > 0).then(pl.col(name)).alias(name) for name in lists),
    )
    if not digests:
        return with_product_id(frame, spec)
    return with_digests(frame, spec).select(*schema(spec), RAW)


def normalise_records(
    records: Sequence[Mapping[str, Any]], spec: CatalogSpec, source_file: str = "", *, digests: bool = True
) -> pl.DataFrame:
    """Parsed JSON objects as the canonical frame with `raw`: the same products as from lines of a file.

    Args:
        records: one object a product, with the names of the source's columns, or of the fields where those differ.
        spec: the catalogue.
        source_file: what stands in that column; source_row counts from 1.
        digests: whether the frame is to have them; products that are only asked about need none.
    """
    raw = [as_text(dict(record)) for record in records]
    numbered = list(range(1, len(records) + 1))
    if len(records) <= MOST_RECORDS_ONE_BY_ONE:
        products = [product_of(record, spec, digests=digests) for record in records]
        values = {name: [product[name] for product in products] for name in products[0]} if products else {}
        values |= {SOURCE_FILE: [source_file] * len(records), SOURCE_ROW: numbered, RAW: raw}
        columns = {**schema(spec), RAW: pl.String()}
        columns = {name: kind for name, kind in columns.items() if digests or name not in DIGESTS}
        return pl.DataFrame([pl.Series(name, values.get(name, []), dtype=kind) for name, kind in columns.items()])
    others = {field.column: field.name for field in spec.fields if field.name not in spec.source_columns}
    lines = pl.Series(RAW, raw, dtype=pl.String)
    frame = frame_of_records(records, lines, [*spec.source_columns, *others.values()])
    frame = frame.select(
        pl.Series(SOURCE_ROW, numbered, dtype=pl.Int64),
        lines,
        *(pl.coalesce(column, others.get(column, column)).alias(column) for column in spec.source_columns),
    )
    return normalise(as_declared(frame, spec), spec, source_file, digests=digests)


def unread_numbers(raw_frame: pl.DataFrame, frame: pl.DataFrame, spec: CatalogSpec) -> dict[str, pl.Series]:
    """source_row of rows whose number column holds something that is no number, by column that has such rows.

    Args:
        raw_frame: as `RawBatch.frame`.
        frame: what `normalise` made of it.
        spec: the catalogue.
    """
    unread: dict[str, pl.Series] = {}
    for field in spec.fields:
        if field.kind == "number":
            empty = raw_frame.filter(frame[field.name].is_null())
            rows = empty.filter(_text(field.column, spec).str.contains(r"\S"))[SOURCE_ROW]
            if len(rows):
                unread[field.column] = rows
    return unread


def _text(column: str, spec: CatalogSpec) -> pl.Expr:
    """A source column as text, also where another use of it made it a list."""
    return pl.col(column).list.join(" ") if column in spec.list_columns else pl.col(column)


def _clean(text: pl.Expr, *, escaped: bool) -> pl.Expr:
    # Of a whole column: neither for literals nor inside `list.eval`.
    if escaped:
        text = text.map_batches(_unescaped, return_dtype=pl.String)
    return text.map_batches(without_control, return_dtype=pl.String)


def _trimmed(text: pl.Expr, *, escaped: bool = False) -> pl.Expr:
    return _clean(text, escaped=escaped).str.strip_chars()


def _trimmed_entries(lists: pl.Expr, *, escaped: bool = False) -> pl.Expr:
    """A list of trimmed texts without the empty ones."""
    trimmed = partial(_with_trimmed_entries, escaped=escaped)
    return lists.map_batches(trimmed, return_dtype=pl.List(pl.String))


def _with_trimmed_entries(lists: pl.Series, *, escaped: bool) -> pl.Series:
    entry, row = pl.col("entry"), pl.int_range(len(lists), eager=True).alias("row")
    given = pl.DataFrame([row, lists.alias("entry")]).explode("entry", empty_as_null=False, keep_nulls=False)
    trimmed = given.with_columns(_trimmed(entry, escaped=escaped))
    if trimmed["entry"].equals(given["entry"]) and (trimmed["entry"] != "").all(ignore_nulls=False):
        return lists  # nearly always, and lists take long to make
    some = trimmed.filter(entry != "").group_by("row").agg("entry")
    rows = pl.DataFrame([row, lists.alias("list")]).join(some, on="row", how="left", maintain_order="left")
    return rows.select(pl.when(pl.col("list").is_not_null()).then(entry.fill_null(pl.lit([])))).to_series()


def _cleaned(field: FieldSpec, spec: CatalogSpec) -> pl.Expr:
    if field.kind == "ids":
        return _trimmed_entries(pl.col(field.column))
    text = _text(field.column, spec)
    if field.kind == "number":
        decimal = spec.source.decimal
        amounts = _clean(text, escaped=False)
        return amounts.map_batches(lambda amounts: numbers(amounts, decimal), return_dtype=pl.Float64)
    if field.kind == "text":
        return _clean(text, escaped=field.html)
    token = _trimmed(text, escaped=field.html)
    return host(token) if field.host else token


def _known_path(raw_frame: pl.DataFrame, spec: CatalogSpec) -> pl.Series:
    """The label as a path that ends before its first empty level; null when nothing is left, or it is ignored."""
    label = spec.label
    if label.list_column is not None:
        entries = _trimmed_entries(pl.col(label.list_column), escaped=label.html)
        names = [f"{depth}" for depth in range(len(spec.levels))]
        paths = raw_frame.select(entries.alias("path"))
        levels = paths.select(
            pl.col("path").list.get(depth, null_on_oob=True).alias(name) for depth, name in enumerate(names)
        )
    else:
        names = list(label.source_columns)
        levels = raw_frame.select(_trimmed(_text(name, spec), escaped=label.html).alias(name) for name in names)
    levels = levels.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in names)
    first = pl.col(names[0]).replace(label.aliases)
    levels = levels.with_columns(pl.when(~first.is_in(label.ignored)).then(first).alias(names[0]))
    known = [pl.all_horizontal(pl.col(names[: depth + 1]).is_not_null()) for depth in range(len(names))]
    path = pl.concat_list(names).list.head(pl.sum_horizontal(known))
    return levels.select(pl.when(pl.col(names[0]).is_not_null()).then(path).alias(KNOWN_PATH)).to_series()


def _unescaped(text: pl.Series) -> pl.Series:
    """`html.unescape` of a column. Rows with none but the common entities, nearly all, never reach Python."""
    rows = text.str.contains("&", literal=True).arg_true()
    if rows.is_empty():
        return text
    escaped = text.gather(rows)
    done = escaped.str.replace_many(_COMMON_ENTITIES)
    rest = escaped.str.replace_many(dict.fromkeys(_COMMON_ENTITIES, " "))
    rare = rest.str.contains("&[#a-zA-Z]").arg_true()
    values = [html.unescape(value) for value in escaped.gather(rare).to_list()]
    done = done.scatter(rare, pl.Series(values, dtype=pl.String))
    return text.clone().scatter(rows, done)
