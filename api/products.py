"""Products as clients send them: what a catalogue's fields may hold, and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from api.problems import MOST_FIELDS, BodyRefusal, FieldProblem, invalid, pointer_to
from catalogs.asked import product_problems
from catalogs.spec import CatalogSpec
from core.settings import Settings

__all__ = ["Place", "Steps", "check_number", "check_products"]

Steps = tuple[str | int, ...]
"""A way through a body: keys and positions."""

Place = Callable[[int, Steps], Steps]
"""Number of a product, and the way to something in it, to the way to that in the body."""


def check_number(products: int, settings: Settings) -> None:
    """Refuse more products than one request may hold.

    Raises:
        BodyRefusal: 413.
    """
    if products > settings.api_max_products:
        detail = f"{products:,} products, the most in one request are {settings.api_max_products:,}"
        raise BodyRefusal(413, detail, hint="send them in several requests, or stream them as application/x-ndjson")


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
        raise invalid([FieldProblem(pointer=pointer_to(*place(0, ())[:-1]), detail="holds no product")])
    check_number(len(products), settings)
    problems: list[FieldProblem] = []
    for number, product in enumerate(products):
        for steps, detail in product_problems(product, spec, settings.api_max_text_chars):
            problems.append(FieldProblem(pointer=pointer_to(*place(number, steps)), detail=detail))
        if len(problems) > MOST_FIELDS:
            break
    if problems:
        raise invalid(problems)
