"""Single products in plain Python, as `normalise` makes them in bulk.

A frame of one row costs Polars as much as one of a thousand: 5 ms, of which an API has none to spare. A test holds the
two ways equal, value by value and digest by digest.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catalogs.digests import add_digests, add_product_id
from catalogs.numbers import number
from catalogs.product import KNOWN_PATH, PRODUCT_ID
from catalogs.values import as_texts, encodable

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, FieldSpec

__all__ = ["CONTROL", "product_of"]

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
    keep = {column: _token(_text(record.get(column))) for column in spec.keep}
    product: dict[str, Any] = {
        PRODUCT_ID: None if spec.id is None else _token(_text(record.get(spec.id))),
        KNOWN_PATH: _known_path(record, spec),
        **{field.name: _value(record, field, spec) for field in spec.fields},
        **keep,
    }
    if digests:
        add_digests(product, spec)
    elif spec.id is None:
        add_product_id(product, spec)
    return product


def _value(record: Mapping[str, Any], field: FieldSpec, spec: CatalogSpec) -> Any:
    given = as_texts(record.get(field.column))
    if given is None and field.name not in spec.source_columns:
        given = as_texts(record.get(field.name))
    if field.kind == "ids":
        return _tokens(given) or None
    text = _text(given)
    if field.kind == "number":
        return None if text is None else number(_clean(text, escaped=False), spec.source.decimal)
    if field.kind == "keyword":
        return _token(text, escaped=field.html)
    clean = None if text is None else _clean(text, escaped=field.html)
    return clean if clean and not clean.isspace() else None


def _known_path(record: Mapping[str, Any], spec: CatalogSpec) -> list[str] | None:
    label = spec.label
    path: list[str] = []
    if label.list_column is not None:
        path = _tokens(record.get(label.list_column), escaped=label.html)[: len(spec.levels)]
    else:
        for column in label.source_columns:
            level = _token(_text(record.get(column)), escaped=label.html)
            if level is None:
                break
            path.append(level)
    if path:
        path[0] = label.aliases.get(path[0], path[0])
    return path if path and path[0] not in label.ignored else None


def _text(value: Any) -> str | None:
    """A value as text: the entries of a list joined by spaces."""
    texts = as_texts(value)
    if not texts:
        return None
    return encodable(texts[0] if len(texts) == 1 else " ".join(text for text in texts if text))


def _clean(text: str, *, escaped: bool) -> str:
    if escaped and "&" in text:
        text = html.unescape(text)
    return _CONTROL.sub(" ", text)


def _token(text: str | None, *, escaped: bool = False) -> str | None:
    return None if text is None else _clean(text, escaped=escaped).strip() or None


def _tokens(value: Any, *, escaped: bool = False) -> list[str]:
    texts: Sequence[str] = as_texts(value) or ()
    return [token for text in texts if (token := _token(encodable(text), escaped=escaped)) is not None]
