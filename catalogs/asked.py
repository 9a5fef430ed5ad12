"""What a product must hold to be asked about: the same for the API and the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["product_problems"]

_ACCEPTS: dict[str, tuple[frozenset[type], bool, str]] = {
    # kind of field: types of a value, whether a list of texts is one too, and in words
    "text": (frozenset({str}), True, "text, or a list of texts"),
    "keyword": (frozenset({str, int, float}), False, "text"),
    "ids": (frozenset({str}), True, "a list of texts"),
    "number": (frozenset({str, int, float, bool}), False, "a number, or text like $12.99"),
    "id": (frozenset({str, int}), False, "text"),
}
_TEXT_ALONE = frozenset({str})


def product_problems(
    product: Any, spec: CatalogSpec, most_chars: int | None = None
) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong with one product: steps to the field, and words.

    Args:
        product: parsed JSON; a field goes by its column's name or by its own.
        spec: the catalogue.
        most_chars: longest text of a field; None: any.
    """
    if type(product) is not dict:
        return [((), "must be an object")]
    found: list[tuple[tuple[str | int, ...], str]] = []
    has_text = False
    for kind, key, other in spec.keys_asked:
        if key not in product and other in product:
            key = other  # a field may go by its own name as well as by its column's
        value = product.get(key)
        if value is None:
            continue
        types, lists, words = _ACCEPTS[kind]
        if type(value) is list and lists:
            if not set(map(type, value)) <= _TEXT_ALONE:
                wrong = next(i for i, entry in enumerate(value) if type(entry) is not str)
                found.append(((key, wrong), "must be text"))
                continue
            chars = sum(map(len, value))
        elif type(value) in types:
            chars = len(value) if type(value) is str else 0
        else:
            found.append(((key,), f"must be {words}"))
            continue
        if most_chars is not None and chars > most_chars:
            found.append(((key,), f"has {chars:,} characters, the most are {most_chars:,}"))
        has_text = has_text or (kind == "text" and _has_words(value))
    if not has_text and not found:
        found.append(_no_text(product, spec))
    return found


def _has_words(value: str | list[str]) -> bool:
    if type(value) is str:
        return bool(value) and not value.isspace()
    return any(entry and not entry.isspace() for entry in value)


def _no_text(product: dict[str, Any], spec: CatalogSpec) -> tuple[tuple[str | int, ...], str]:
    columns = [field.column for field in spec.fields if field.kind == "text"]
    if len(columns) == 1:
        (column,) = columns
        if column not in product:
            return (column,), "is missing"
        return (column,), "must not be null" if product[column] is None else "must not be empty"
    return (), f"has no text: give at least one of {', '.join(columns)}"
