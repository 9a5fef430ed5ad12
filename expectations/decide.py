"""Decide every row: good, or rejected with every reason.

The questions are Polars expressions over the whole batch; sentences are only made for rows that have failed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from catalogs.product import RAW, SOURCE_FILE, SOURCE_ROW
from expectations.rules import Rule, compile  # noqa: A004 - the field's word

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["REJECTS_SCHEMA", "Decided", "decide", "failures"]

REJECTS_SCHEMA = {SOURCE_FILE: pl.String(), SOURCE_ROW: pl.Int64(), RAW: pl.String(), "reasons": pl.List(pl.String)}

MOST_SHOWN = 80
"""Characters of a value that a reason shows."""

MOST_COMPARED = 200_000
"""Pairs of wrong and allowed value that are compared, per batch and rule, to find what was meant (some 0.1 s a 10,000);
wrong values beyond that, the rarest, get no suggestion."""


@dataclass(frozen=True, eq=False)
class Decided:
    """What became of a batch.

    Attributes:
        good: the rows to store, in order, without `raw`.
        rejects: source_file, source_row, raw, reasons; in order.
        warnings: rows that broke a `warn` rule, by rule name; only rules that were broken.
        failed: rows that broke a rule of either severity, by rule name; every rule.
        warned: source_row of the rows that broke a `warn` rule.
        broken: as `failures`, of every row.
    """

    good: pl.DataFrame
    rejects: pl.DataFrame
    warnings: dict[str, int]
    failed: dict[str, int]
    warned: pl.Series
    broken: pl.DataFrame


def decide(frame: pl.DataFrame, spec: CatalogSpec, rules: Sequence[Rule] | None = None) -> Decided:
    """Decide every row of the canonical `frame`; each ends in `good` or in `rejects`.

    Args:
        frame: canonical product frame, with or without `raw`.
        spec: the catalogue.
        rules: its compiled rules, for callers with many batches.
    """
    rules = compile(spec) if rules is None else rules
    broken = failures(frame, rules)
    failed = {rule.name: int(broken[rule.name].sum()) for rule in rules}
    hard = [rule for rule in rules if rule.severity == "reject" and failed[rule.name]]
    good = frame.drop(RAW, strict=False)
    rejects = pl.DataFrame(schema=REJECTS_SCHEMA)
    if hard:
        out = broken.select(pl.any_horizontal([rule.name for rule in hard])).to_series()
        rejects = _reasons(frame.filter(out), broken.filter(out), hard)
        good = good.filter(~out)
    warnings = {rule.name: failed[rule.name] for rule in rules if rule.severity == "warn" and failed[rule.name]}
    warned = frame[SOURCE_ROW].clear()
    if warnings:
        warned = frame[SOURCE_ROW].filter(broken.select(pl.any_horizontal(*warnings)).to_series())
    return Decided(good, rejects, warnings, failed, warned, broken)


def failures(frame: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """One boolean column a rule, named by it and row-aligned with `frame`: True where the rule is broken."""
    # Some expressions are literals (a rule without anything to ask): with_columns gives them the frame's height.
    return frame.with_columns(rule.fails.alias(rule.name) for rule in rules).select(rule.name for rule in rules)


def _reasons(bad: pl.DataFrame, broken: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """The rejects table of the rows in `bad`, which `broken` says have failed."""
    sentences = [_sentence(bad, broken[rule.name], rule) for rule in rules]
    raw = pl.col(RAW) if RAW in bad.columns else pl.lit(None)
    return bad.select(
        SOURCE_FILE,
        SOURCE_ROW,
        raw.alias(RAW),
        pl.concat_list([pl.lit(sentence) for sentence in sentences]).list.drop_nulls().alias("reasons"),
    ).cast(REJECTS_SCHEMA)  # type: ignore[arg-type]  # polars' stub wants one type for all keys


def _sentence(bad: pl.DataFrame, broken: pl.Series, rule: Rule) -> pl.Series:
    """The rule's reason for each row of `bad` that has broken it, null for the others."""
    value = pl.col("value")
    shown = pl.when(value.str.len_chars() > MOST_SHOWN).then(value.str.slice(0, MOST_SHOWN) + "…").otherwise(value)
    rows = bad.with_columns(rule.shown.cast(pl.String).alias("value"), broken.alias("broken")).select("value", "broken")
    # One line, whatever the value holds: a reason is read in tables and terminals.
    text = pl.format("'{}'", shown.str.replace_all(r"[\s\p{Cc}]+", " ")).fill_null("empty")
    hint = pl.lit("")
    if rule.allowed:
        hints = _hints(rows.filter("broken")["value"], rule.allowed)
        hint = value.replace_strict(list(hints), list(hints.values()), default="", return_dtype=pl.String)
    filling = {"{value}": text, "{hint}": hint}
    parts = [filling.get(piece, pl.lit(piece)) for piece in re.split(r"(\{value\}|\{hint\})", rule.reason)]
    return rows.select(pl.when("broken").then(pl.concat_str(parts))).to_series()


def _hints(wrong: pl.Series, allowed: Sequence[str]) -> dict[str, str]:
    """` (did you mean 'Books'?)` for each wrong value that is close to an allowed one, the commonest values first."""
    folded = {value.casefold(): value for value in allowed}
    hints: dict[str, str] = {}
    commonest = wrong.drop_nulls().value_counts(sort=True).to_series(0)
    for value in commonest.head(max(1, MOST_COMPARED // len(allowed))):
        # Long values are no misspelt labels, and comparing takes time by the square of their length.
        close = difflib.get_close_matches(str(value).casefold()[:MOST_SHOWN], folded, n=1, cutoff=0.6)
        if close:
            hints[value] = f" (did you mean '{folded[close[0]]}'?)"
    return hints
