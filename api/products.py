"""Products as clients send them: what a catalogue's fields may hold, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from api.problems import MOST_FIELDS, BodyRefusal, FieldProblem, invalid, pointer_to
from catalogs.spec import CatalogSpec
from core.settings import Settings

__all__ = ["check_products", "product_problems"]

Place = Callable[[int], tuple[str | int, ...]]
"""Number of a product to the steps that lead to it in the body."""

_ACCEPTS: dict[str, tuple[frozenset[type], bool, str]] = {
    # kind of field: types of a value, whether a list of texts is one too, and in words
    "text": (frozenset({str}), True, "text, or a list of texts"),
    "keyword": (frozenset({str, int, float}), False, "text"),
    "ids": (frozenset({str}), True, "a list of texts"),
    "number": (frozenset({str, int, float, bool}), False, "a number, or text like $12.99"),
    "id": (frozenset({str, int}), False, "text"),
}


def check_products(products: Sequence[Any], spec: CatalogSpec, settings: Settings, place: Place) -> None:
    """Refuse products that cannot be answered.

    Args:
        products: what the client sent.
        spec: the catalogue that it is for.
        settings: how many and how long they may be.
        place: where each stands in the body.

    Raises:
        BodyRefusal: 413 too many products; 422 none, or some that are not usable, each named.
    """
    if not products:
        raise invalid([FieldProblem(pointer=pointer_to(*place(0)[:-1]), detail="holds no product")])
    if len(products) > settings.api_max_products:
        detail = f"{len(products):,} products, the most in one request are {settings.api_max_products:,}"
        raise BodyRefusal(413, detail, hint="send them in several requests, or stream them as application/x-ndjson")
    problems: list[FieldProblem] = []
    for number, product in enumerate(products):
        for steps, detail in product_problems(product, spec, settings.api_max_text_chars):
            problems.append(FieldProblem(pointer=pointer_to(*place(number), *steps), detail=detail))
        if len(problems) > MOST_FIELDS:
            break
    if problems:
        raise invalid(problems)


def product_problems(product: Any, spec: CatalogSpec, most_chars: int) -> list[tuple[tuple[str | int, ...], str]]:
    """What is wrong with one product: steps to the field, and words."""
    if type(product) is not dict:
        return [((), "must be an object")]
    found: list[tuple[tuple[str | int, ...], str]] = []
    has_text = False
    keys = [("id", spec.id, spec.id)] if spec.id is not None else []
    for kind, key, other in [*keys, *((field.kind, field.column, field.name) for field in spec.fields)]:
        if key not in product and other in product:
            key = other  # a field may go by its own name as well as by its column's
        value = product.get(key)
        if value is None:
            continue
        types, lists, words = _ACCEPTS[kind]
        if type(value) is list and lists:
            wrong = next((i for i, entry in enumerate(value) if type(entry) is not str), None)
            if wrong is not None:
                found.append(((key, wrong), "must be text"))
                continue
            chars = sum(len(entry) for entry in value)
        elif type(value) in types:
            chars = len(value) if type(value) is str else 0
        else:
            found.append(((key,), f"must be {words}"))
            continue
        if chars > most_chars:
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
