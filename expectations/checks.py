"""One question asked of one value of every row, written once and asked twice: by Polars and by Great Expectations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

__all__ = ["Check", "CheckKind"]

CheckKind = Literal["not_null", "in_set", "matches", "not_matches", "length_between", "between"]


@dataclass(frozen=True, eq=False)
class Check:
    """What must hold of one value; a missing value fails only `not_null`.

    Attributes:
        column: name of the value, as people read it; the same name always means the same value.
        value: the value, of text or number, taken from the canonical product frame.
        kind: what is asked.
        values: for `in_set`, what is allowed.
        pattern: for `matches` and `not_matches`, a regular expression looked for anywhere in the value.
        least: smallest value or length (in characters) allowed, inclusive; None = no bound.
        most: largest value or length allowed, inclusive; None = no bound.
    """

    column: str
    value: pl.Expr
    kind: CheckKind
    values: tuple[str, ...] = ()
    pattern: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def fails(self) -> pl.Expr:
        """True for the rows on which this does not hold; never null."""
        if self.kind == "not_null":
            return self.value.is_null()
        match self.kind:
            case "in_set":
                wrong = ~self.value.is_in(list(self.values))
            case "matches":
                wrong = ~self.value.str.contains(self.pattern)
            case "not_matches":
                wrong = self.value.str.contains(self.pattern)
            case "length_between":
                wrong = self._outside(self.value.str.len_chars())
            case _:
                wrong = self._outside(self.value)
        return wrong.fill_null(value=False)

    def _outside(self, measured: pl.Expr) -> pl.Expr:
        wrong = pl.lit(value=False)
        if self.least is not None:
            wrong = wrong | (measured < self.least)
        if self.most is not None:
            wrong = wrong | (measured > self.most)
        return wrong
