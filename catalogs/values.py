"""JSON values as text: what a number, a list or an object is when a column asks for words."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import orjson

__all__ = ["as_text", "as_texts", "encodable"]

_TEXT_ALONE = frozenset({str})
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def as_text(value: Any) -> str | None:
    """One value as text; None for null, NaN and infinite numbers.

    Numbers have no exponent and no needless ".0", as Polars' JSON reader writes them (beyond 15 digits the two may pick
    different texts of the same number); objects become JSON.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float_text(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return " ".join(text for text in as_texts(value) or [] if text) or None
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (orjson.JSONEncodeError, UnicodeEncodeError):  # lone surrogates, or deeper than JSON goes
        return str(value)


def as_texts(value: Any) -> list[str] | None:
    """A value as a list of texts: lists are flattened, a single value is a list of one, null entries are left out."""
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        text = as_text(value)
        return None if text is None else [text]
    if set(map(type, value)) <= _TEXT_ALONE:
        return list(value)
    texts: list[str] = []
    for entry in value:
        if isinstance(entry, str):
            texts.append(entry)
        elif isinstance(entry, list | tuple):
            texts += as_texts(entry) or []
        elif (text := as_text(entry)) is not None:
            texts.append(text)
    return texts


def encodable(text: str) -> str:
    """The text with lone surrogates, which no file can hold, as NUL; that is what Polars' JSON reader makes of them."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\0", text)
    return text


def _float_text(value: float) -> str:
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
