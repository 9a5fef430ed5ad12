"""What a catalogue's rows must look like: its rules, compiled to Polars expressions with a reason to tell people.

A rule is one or more checks (`expectations.checks`); it fails on a row when one of them does. The built-in rules come
first: every product needs an id, something to read, and a label that can be one. Then come those of the TOML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Literal

import polars as pl

from catalogs.product import KNOWN_PATH, PRODUCT_ID, join_paths
from expectations.checks import Check

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, RuleSpec

__all__ = ["Rule", "RuleCount", "Severity", "compile", "counted"]

Severity = Literal["reject", "warn"]

MARKUP_PATTERN = r"(?:^|> )\s*<[A-Za-z/!]"
"""A tag at the start of a label, or of one level of a label path."""

WORDS_PATTERN = r"\S"
"""Something other than white space."""


@dataclass(frozen=True, eq=False)
class Rule:
    """One promise about every row.

    Attributes:
        name: unique in its catalogue, the same from run to run.
        column: the column it is about, as the catalogue names it.
        severity: `reject` keeps the row out; `warn` only counts it.
        statement: what holds for a good row.
        why: what is wrong with a row that breaks it, in general; for a declared rule, what its TOML says.
        reason: what to tell about a bad row; `{value}` stands for the value and `{hint}` for the closest allowed one.
        shown: the value, as text, that `{value}` stands for.
        checks: what is asked; the rule fails where one of them does.
    """

    name: str
    column: str
    severity: Severity
    statement: str
    why: str
    reason: str
    shown: pl.Expr
    checks: tuple[Check, ...]

    @property
    def fails(self) -> pl.Expr:
        """True for the rows that break this rule; never null."""
        return pl.any_horizontal([check.fails for check in self.checks])

    @property
    def allowed(self) -> tuple[str, ...]:
        """The only values there may be; empty where the rule has no such list."""
        return tuple(value for check in self.checks for value in check.values)


@dataclass(frozen=True)
class RuleCount:
    """How many rows broke a rule."""

    name: str
    column: str
    severity: Severity
    statement: str
    why: str
    failed: int


def compile(spec: CatalogSpec) -> list[Rule]:  # noqa: A001 - the field's word; Python's own compile is not used here
    """The rules of `spec`, built-in ones first."""
    rules = list(_builtin(spec))
    for declared in spec.expectations:
        rules.append(_declared(spec, declared, taken={rule.name for rule in rules}))
    return rules


def counted(rules: Iterable[Rule], failed: Mapping[str, int]) -> list[RuleCount]:
    """Each rule with the number of rows that broke it: `failed`, by rule name; a name that is not there means 0."""
    return [RuleCount(r.name, r.column, r.severity, r.statement, r.why, failed.get(r.name, 0)) for r in rules]


def _builtin(spec: CatalogSpec) -> Iterator[Rule]:
    if spec.id is not None:
        yield Rule(
            name="id_missing",
            column=spec.id,
            severity="reject",
            statement=f"{spec.id} is not empty",
            why="the id is missing",
            reason=f"the id is missing (column {spec.id})",
            shown=pl.col(PRODUCT_ID),
            checks=_filled(spec.id, pl.col(PRODUCT_ID)),
        )
    yield _text_empty(spec.text_fields)
    name, label, first = " / ".join(spec.levels), join_paths(), pl.col(KNOWN_PATH).list.first()
    if spec.label.allowed:
        level = spec.levels[0]
        labels = f"{len(spec.label.allowed)} allowed {f'values of {level}' if spec.is_path else 'labels'}"
        yield Rule(
            name="label_not_allowed",
            column=level,
            severity="reject",
            statement=f"{level} is one of the {labels}, or missing",
            why="the label is not an allowed one",
            reason=f"label {{value}} is not one of the {labels}{{hint}}",
            shown=first,
            checks=(Check(level, first, "in_set", values=tuple(spec.label.allowed)),),
        )
    yield Rule(
        name="label_is_markup",
        column=name,
        severity="reject",
        statement=f"{name} is not markup",
        why="the label is markup",
        reason="label {value} is markup, not a label",
        shown=label,
        checks=(Check(name, label, "not_matches", pattern=MARKUP_PATTERN),),
    )


def _text_empty(fields: list[str]) -> Rule:
    filled = [pl.col(name).str.contains(WORDS_PATTERN).fill_null(value=False).cast(pl.Float64) for name in fields]
    named = ", ".join(fields)
    return Rule(
        name="text_empty",
        column=named,
        severity="reject",
        statement=f"one of {named} is not empty" if len(fields) > 1 else f"{named} is not empty",
        why="there is no text to read",
        reason=f"every text field is empty: {named}" if len(fields) > 1 else f"{named} is empty",
        shown=pl.lit(None, dtype=pl.String),
        checks=(Check("filled text fields", pl.sum_horizontal(filled), "between", least=1),),
    )


def _declared(spec: CatalogSpec, declared: RuleSpec, taken: set[str]) -> Rule:
    """The rule that one [[expectations]] entry declares; the spec has checked that column and rule fit."""
    kind = next((field.kind for field in spec.fields if field.name == declared.column), "keyword")
    column = spec.id if declared.column == PRODUCT_ID and spec.id is not None else declared.column
    value = pl.col(declared.column).fill_nan(None) if kind == "number" else pl.col(declared.column)
    reason = declared.reason.rstrip(".")
    if declared.rule == "not_empty":
        # Not "the title is empty: title is empty".
        if not re.search(rf"\b{re.escape(column)}\b", reason, re.IGNORECASE):
            reason = f"{reason}: {column} is empty"
    elif "{value}" not in reason:
        reason = f"{reason}: {column} is {{value}}{{hint}}"
    return Rule(
        name=_unused(f"{declared.column}_{declared.rule}".replace(" ", "_"), taken),
        column=column,
        severity=declared.severity,
        statement=_statement(column, declared, kind),
        why=declared.reason,
        reason=reason,
        shown=value.list.join(", ") if kind == "ids" else value.cast(pl.String),
        checks=_checks(column, value, declared, kind),
    )


def _unused(name: str, taken: set[str]) -> str:
    """`name`, numbered from 2 on when a rule has it already."""
    names = chain([name], (f"{name}_{n}" for n in count(2)))
    return next(one for one in names if one not in taken)


def _checks(column: str, value: pl.Expr, declared: RuleSpec, kind: str) -> tuple[Check, ...]:
    if kind == "ids":
        entries = value.list.len().cast(pl.Float64)
        if declared.rule == "not_empty":
            return (Check(f"entries of {column}", entries.fill_null(0), "between", least=1),)
        return (Check(f"entries of {column}", entries, "between", least=declared.min, most=declared.max),)
    if declared.rule == "not_empty":
        return (Check(column, value, "not_null"),) if kind == "number" else _filled(column, value)
    least, most = declared.min, declared.max
    if declared.rule == "length_between":  # lengths are whole: Great Expectations takes no others
        least, most = least if least is None else math.ceil(least), most if most is None else math.floor(most)
    values, pattern = tuple(declared.values or ()), declared.pattern or ""
    return (Check(column, value, declared.rule, values=values, pattern=pattern, least=least, most=most),)


def _filled(column: str, value: pl.Expr) -> tuple[Check, ...]:
    return Check(column, value, "not_null"), Check(column, value, "matches", pattern=WORDS_PATTERN)


def _statement(column: str, declared: RuleSpec, kind: str) -> str:
    """What the rule asks, in words; an empty value is excused from all but `not_empty`."""
    match declared.rule:
        case "not_empty":
            return f"{column} is not empty"
        case "in_set":
            values = declared.values or []
            return f"{column} is one of {', '.join(values) if len(values) <= 6 else f'{len(values)} allowed values'}"
        case "matches":
            return f"{column} matches {declared.pattern}"
        case "not_matches":
            return f"{column} does not match {declared.pattern}"
        case "length_between":
            return f"{column} has {_bounds(declared)} {'entries' if kind == 'ids' else 'characters'}"
        case "between":
            return f"{column} is {_bounds(declared)}"


def _bounds(declared: RuleSpec) -> str:
    if declared.min is None:
        return f"at most {declared.max:,g}"
    return f"at least {declared.min:,g}" if declared.max is None else f"{declared.min:,g} to {declared.max:,g}"
