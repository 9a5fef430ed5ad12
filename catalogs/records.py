"""Single products in plain Python, as `normalise` makes them in bulk.

A frame of one row costs Polars as much as one of a thousand: 5 ms, of which an API has none to spare. A test holds the
two ways equal, value by value and digest by digest.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catalogs.digests import add_digests, add_product_id
from catalogs.numbers import number
from catalogs.product import KNOWN_PATH, PRODUCT_ID
from catalogs.values import as_texts, encodable

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, FieldSpec

__all__ = ["CONTROL", "asked_of", "product_of"]

# C0 and C1 control characters but tab, line feed and carriage return.
CONTROL = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]"
_CONTROL = re.compile(CONTROL)


def product_of(record: Mapping[str, Any], spec: CatalogSpec, *, digests: bool = True) -> dict[str, Any]:
    """One parsed JSON object as a canonical product, without source and raw.

    Args:
        record: the object.
        spec: the catalogue.
        digests: whether it is to have them; a product that is only asked about needs none.
    """
    product: dict[str, Any] = {
        PRODUCT_ID: None if spec.id is None else _token(record.get(spec.id)),
        KNOWN_PATH: _known_path(record, spec),
        **{field.name: _values([record], field, spec)[0] for field in spec.fields},
        **{column: _token(record.get(column)) for column in spec.keep},
    }
    if digests:
        add_digests(product, spec)
    elif spec.id is None:
        add_product_id(product, spec)
    return product


def asked_of(records: Sequence[Mapping[str, Any]], spec: CatalogSpec) -> dict[str, list[Any]]:
    """What a model reads of products, and their ids: the values of `product_of`, column by column.

    Args:
        records: parsed JSON objects.
        spec: the catalogue.
    """
    columns = {field.name: _values(records, field, spec) for field in spec.fields}
    if spec.id is not None:
        return {PRODUCT_ID: [_token(record.get(spec.id)) for record in records], **columns}
    products = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for product in products:
        add_product_id(product, spec)
    return {PRODUCT_ID: [product[PRODUCT_ID] for product in products], **columns}


def _values(records: Sequence[Mapping[str, Any]], field: FieldSpec, spec: CatalogSpec) -> list[Any]:
    """A field's value in each record."""
    given = [record.get(field.column) for record in records]
    if field.name not in spec.source_columns:
        given = [
            record.get(field.name) if as_texts(value) is None else value
            for record, value in zip(records, given, strict=True)
        ]
    value_of = _VALUE_OF[field.kind]
    return [None if value is None else value_of(value, field.html, spec.source.decimal) for value in given]


def _written(value: Any, escaped: bool, _: str) -> str | None:
    clean = _clean(_text(value), escaped=escaped)
    return clean if clean and not clean.isspace() else None


def _number(value: Any, _: bool, decimal: str) -> float | None:
    return number(_clean(_text(value), escaped=False), decimal)


_VALUE_OF: dict[str, Callable[[Any, bool, str], Any]] = {
    "text": _written,
    "keyword": lambda value, escaped, _: _token(value, escaped=escaped),
    "ids": lambda value, _, __: _tokens(value) or None,
    "number": _number,
}


def _known_path(record: Mapping[str, Any], spec: CatalogSpec) -> list[str] | None:
    label = spec.label
    path: list[str] = []
    if label.list_column is not None:
        path = _tokens(record.get(label.list_column), escaped=label.html)[: len(spec.levels)]
    else:
        for column in label.source_columns:
            level = _token(record.get(column), escaped=label.html)
            if level is None:
                break
            path.append(level)
    if path:
        path[0] = label.aliases.get(path[0], path[0])
    return path if path and path[0] not in label.ignored else None


def _text(value: Any) -> str | None:
    """A value as text: the entries of a list joined by spaces."""
    if type(value) is str:
        return encodable(value)
    texts = as_texts(value)
    if not texts:
        return None
    return encodable(texts[0] if len(texts) == 1 else " ".join(filter(None, texts)))


def _clean(text: str | None, *, escaped: bool) -> str | None:
    if text is None:
        return None
    if escaped and "&" in text:
        text = html.unescape(text)
    # What can be printed has no control character, and is quicker seen to.
    return text if text.isprintable() else _CONTROL.sub(" ", text)


def _token(value: Any, *, escaped: bool = False) -> str | None:
    clean = _clean(_text(value), escaped=escaped)
    return clean.strip() or None if clean else None


def _tokens(value: Any, *, escaped: bool = False) -> list[str]:
    texts = as_texts(value) or []
    every = "".join(texts)
    if every.isascii() and every.isprintable() and not (escaped and "&" in every):  # as ids mostly are
        return [stripped for text in texts if (stripped := text.strip())]
    return [token for text in texts if (token := _token(text, escaped=escaped)) is not None]
