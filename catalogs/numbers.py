"""Amounts as people write them, as numbers: $12.99, ₹9,99,999, Rs. 300, 1.234,50 €, 12 kg."""

from __future__ import annotations

import math
import re

import polars as pl

__all__ = ["number", "numbers"]

_CURRENCY = "[$¢£¤¥₠-⃀฿＄￠￡￥￦]"
_SPACES_IN_NUMBERS = " \u00a0\u202f"
# Digits grouped by three, or as in India by two before the last three. A group that is none ("12,99") is no number
# rather than a wrong one.
_DIGITS = r"(?:[0-9]{1,3}(?:[GROUP][0-9]{2,3})*[GROUP][0-9]{3}|[0-9]+)(?:POINT[0-9]*)?|POINT[0-9]+"
# A short unit or currency may stand on either side, and a range counts as its lower end: "$8.99 - $12.99". Anything
# else beside the digits ("Only 3 left in stock.") makes it no number.
_AMOUNT = (
    rf"^[-+]?\s*(?:[A-Za-z]{{0,3}}\.?\s*{_CURRENCY}|[A-Za-z]{{1,3}}\.?)?\s*([-+]?(?:{_DIGITS}))"
    rf"\s*(?:%|{_CURRENCY}|[A-Za-z]{{1,3}}\.?)?(?:\s*[-–]\s*{_CURRENCY}?\s*[0-9][0-9.,]*\s*)?$"
)
_OTHER = {".": ",", ",": "."}
_GROUP = {decimal: f"{other}'’{_SPACES_IN_NUMBERS}" for decimal, other in _OTHER.items()}
_PATTERNS = {
    decimal: _AMOUNT.replace("GROUP", group).replace("POINT", re.escape(decimal)) for decimal, group in _GROUP.items()
}
_COMPILED = {decimal: re.compile(pattern) for decimal, pattern in _PATTERNS.items()}
_PLAIN = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_EXPONENT = re.compile("[0-9][eE]")
# What stands before nearly every price; a number behind it needs no pattern.
_COMMON_SIGNS = "$₹€£"


def numbers(amounts: pl.Series, decimal: str = ".") -> pl.Series:
    """A column of amounts as Float64; null where there is none, and for NaN and infinity.

    Args:
        amounts: text without control characters.
        decimal: the decimal sign; "," takes "12.5" as well, where it cannot be a grouped number.
    """
    text = amounts.str.strip_chars()
    plain = text.str.strip_chars_start(_COMMON_SIGNS)
    if decimal == ",":
        plain = plain.set(~plain.str.contains("^[0-9]+$").fill_null(value=True), None)
    values = plain.cast(pl.Float64, strict=False)
    rows = (values.is_null() & text.is_not_null() & (text != "")).arg_true()
    if rows.len():
        values = values.scatter(rows, _by_pattern(text.gather(rows), decimal))
    values = values.set(~values.is_finite(), None)
    return values.set(values == 0, 0.0)  # no -0.0: equal numbers have equal digests


def number(amount: str | None, decimal: str = ".") -> float | None:
    """`numbers` of a single value, the same result."""
    if amount is None:
        return None
    text = amount.strip()
    plain = text.lstrip(_COMMON_SIGNS)
    if decimal == "," and not (plain.isascii() and plain.isdigit()):
        plain = ""
    value = _plain_number(plain)
    if value is None:
        match = _COMPILED[decimal].match(text)
        if match is not None and not text.endswith("\n"):
            digits = match.group(1).translate({ord(sign): None for sign in _GROUP[decimal]})
            value = _plain_number(digits.replace(decimal, "."))
            value = -value if value is not None and value > 0 and text.startswith("-") else value
        if decimal == "," and (value is None or _EXPONENT.search(text)):
            value = _plain_number(text)
    if value is None or not math.isfinite(value):
        return None
    return value or 0.0


def _plain_number(text: str) -> float | None:
    return float(text) if _PLAIN.fullmatch(text) else None


def _by_pattern(text: pl.Series, decimal: str) -> pl.Series:
    digits = text.str.extract(_PATTERNS[decimal], 1).str.replace_all(f"[{_GROUP[decimal]}]", "")
    values = digits.str.replace(decimal, ".", literal=True).cast(pl.Float64, strict=False)
    values = (-values).zip_with((text.str.starts_with("-") & (values > 0)).fill_null(value=False), values)
    if decimal == ",":
        plain = text.cast(pl.Float64, strict=False)
        values = values.zip_with(values.is_not_null() & ~text.str.contains("[0-9][eE]"), plain)
    return values
