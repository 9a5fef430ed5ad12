"""Single products in plain Python, as `normalise` makes them in bulk.

A frame of one row costs Polars as much as one of a thousand: 5 ms, of which an API has none to spare. A test holds the
two ways equal, value by value and digest by digest.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from catalogs.control import CONTROL, has_control
from catalogs.digests import add_digests, add_product_id
from catalogs.hosts import hosts
from catalogs.numbers import number
from catalogs.product import KNOWN_PATH, PRODUCT_ID
from catalogs.values import as_texts, encodable

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, FieldSpec

__all__ = ["asked_of", "product_of"]

_TEXT_ALONE = frozenset({str})

_CONTROL = re.compile(CONTROL)


def product_of(record: Mapping[str, Any], spec: CatalogSpec, *, digests: bool = True) -> dict[str, Any]:
    """One parsed JSON object as a canonical product, without source and raw.

    Args:
        record: the object.
        spec: the catalogue.
        digests: whether it is to have them; a product that is only asked about needs none.
    """
    given = _given([record], spec)
    product: dict[str, Any] = {
        PRODUCT_ID: None if spec.id is None else _token(record.get(spec.id)),
        KNOWN_PATH: _known_path(record, spec),
        **{field.name: _values(given, field, spec)[0] for field in spec.fields},
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
    given = _given(records, spec)
    columns = {field.name: _values(given, field, spec) for field in spec.fields}
    if spec.id is not None:
        return {PRODUCT_ID: _tokens(given[spec.id]), **columns}
    products = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for product in products:
        add_product_id(product, spec)
    return {PRODUCT_ID: [product[PRODUCT_ID] for product in products], **columns}


def _given(records: Sequence[Mapping[str, Any]], spec: CatalogSpec) -> dict[str, list[Any]]:
    """What records hold under every key that is read, key by key."""
    keys = spec.keys_read
    # Record by record: they lie far apart in memory, and to visit each for every key takes longer.
    rows = [[record.get(key) for key in keys] for record in records]
    return {key: [row[place] for row in rows] for place, key in enumerate(keys)}


def _values(columns: Mapping[str, list[Any]], field: FieldSpec, spec: CatalogSpec) -> list[Any]:
    """A field's value in each record, of what `_given` found."""
    given = columns[field.column]
    if field.name not in spec.source_columns:
        given = [
            other if as_texts(value) is None else value for value, other in zip(given, columns[field.name], strict=True)
        ]
    if field.kind == "text":
        return [text if text and not text.isspace() else None for text in _clean_texts(given, escaped=field.html)]
    if field.kind == "keyword":
        tokens = _tokens(given, escaped=field.html)
        return hosts(tokens) if field.host else tokens
    if field.kind == "ids":
        return [tokens or None for tokens in _token_lists(given)]
    decimal = spec.source.decimal
    return [None if text is None else number(text, decimal) for text in _clean_texts(given)]


def _known_path(record: Mapping[str, Any], spec: CatalogSpec) -> list[str] | None:
    label = spec.label
    path: list[str] = []
    if label.list_column is not None:
        path = _token_lists([record.get(label.list_column)], escaped=label.html)[0][: len(spec.levels)]
    else:
        for column in label.source_columns:
            level = _token(record.get(column), escaped=label.html)
            if level is None:
                break
            path.append(level)
    if path:
        path[0] = label.aliases.get(path[0], path[0])
    return path if path and path[0] not in label.ignored else None


def _token(value: Any, *, escaped: bool = False) -> str | None:
    return _tokens([value], escaped=escaped)[0]


def _tokens(values: Iterable[Any], *, escaped: bool = False) -> list[str | None]:
    """Each value as one token; None where nothing is left."""
    return [(text.strip() or None) if text else None for text in _clean_texts(values, escaped=escaped)]


def _token_lists(values: Iterable[Any], *, escaped: bool = False) -> list[list[str]]:
    """Each value as a list of tokens."""
    lists = [value if type(value) is list else as_texts(value) or [] for value in values]
    if not set(map(type, chain.from_iterable(lists))) <= _TEXT_ALONE:
        lists = [as_texts(texts) or [] for texts in lists]
    clean = iter(_clean_texts(chain.from_iterable(lists), escaped=escaped))
    return [[token for text in islice(clean, len(texts)) if text and (token := text.strip())] for texts in lists]


def _clean_texts(values: Iterable[Any], *, escaped: bool = False) -> list[str | None]:
    """Values as text without control characters and, where they are `escaped`, without HTML entities."""
    texts = [value if value is None or type(value) is str else _joined(value) for value in values]
    plain = [html.unescape(text) if text and "&" in text else text for text in texts] if escaped else texts
    if _is_clean("".join(filter(None, plain))):  # mostly; to ask each text takes as long as all else
        return plain
    return [
        own if own is None or _is_clean(own) else _clean(text, escaped=escaped)
        for own, text in zip(plain, texts, strict=True)
    ]


def _joined(value: Any) -> str | None:
    """A value as text: the entries of a list joined by spaces."""
    texts = as_texts(value)
    if not texts:
        return None
    return texts[0] if len(texts) == 1 else " ".join(filter(None, texts))


def _is_clean(text: str) -> bool:
    """Whether a text has neither control characters nor lone surrogates."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return False
    return not has_control(data)


def _clean(text: str | None, *, escaped: bool) -> str | None:
    if text is None:
        return None
    text = encodable(text)
    return _CONTROL.sub(" ", html.unescape(text) if escaped and "&" in text else text)
