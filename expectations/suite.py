"""The same rules as a Great Expectations suite, run on a batch and compared, row by row, with what Polars decided.

Great Expectations is imported inside functions only: that takes seconds. It never reports to anybody.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from expectations.checks import Check, CheckKind
from expectations.rules import Rule, Severity
from expectations.sample import MOST_ROWS, Sample, asked

if TYPE_CHECKING:
    import pandas as pd

    from catalogs.spec import CatalogSpec

__all__ = ["RuleResult", "SuiteResult", "run_suite", "validate"]

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

EXPECTATIONS: dict[CheckKind, str] = {
    "not_null": "ExpectColumnValuesToNotBeNull",
    "in_set": "ExpectColumnValuesToBeInSet",
    "matches": "ExpectColumnValuesToMatchRegex",
    "not_matches": "ExpectColumnValuesToNotMatchRegex",
    "length_between": "ExpectColumnValueLengthsToBeBetween",
    "between": "ExpectColumnValuesToBeBetween",
}
"""What asks the same in Great Expectations. All of them excuse missing values, but for the first."""


@dataclass(frozen=True)
class RuleResult:
    """What Great Expectations found for one rule.

    Attributes:
        name: of the rule.
        severity: of the rule.
        rows: positions in the batch, from 0 and ascending, of the rows that broke it.
        disagreements: rows of the sample on which Great Expectations and Polars differ.
        error: what went wrong where the rule could not be asked; then nothing is known about it.
    """

    name: str
    severity: Severity
    rows: tuple[int, ...]
    disagreements: int
    error: str | None = None

    @property
    def failed(self) -> int:
        """Rows that broke the rule, among those looked at."""
        return len(self.rows)


@dataclass(frozen=True)
class SuiteResult:
    """What Great Expectations found on a batch.

    Attributes:
        rows: rows looked at.
        of: rows of the batch.
        sampled: whether `rows` is a sample of `of`.
        seed: of that sample.
        results: one a rule, in the rules' order.
        docs: index page of the Data Docs.
    """

    rows: int
    of: int
    sampled: bool
    seed: int
    results: tuple[RuleResult, ...]
    docs: Path

    @property
    def success(self) -> bool:
        """No rule was broken by any row, not counting those that only warn, and each could be asked."""
        return all(r.error is None and (r.severity == "warn" or not r.rows) for r in self.results)

    @property
    def agrees(self) -> bool:
        """Great Expectations and Polars say the same of every row and rule."""
        return all(r.error is None and r.disagreements == 0 for r in self.results)


def run_suite(
    frame: pl.DataFrame, spec: CatalogSpec, folder: Path, seed: int, most_rows: int = MOST_ROWS
) -> SuiteResult:
    """Run the suite of `spec` on the canonical `frame`, or, where it has more than `most_rows`, on a seeded sample.

    Args:
        frame: every row of the batch, good and bad.
        spec: the catalogue.
        folder: where the Data Docs go.
        seed: of the sample.
        most_rows: as of `Sample`.
    """
    sample = Sample(spec, seed, most_rows)
    sample.add(frame)
    return validate(sample, folder)


def validate(sample: Sample, folder: Path) -> SuiteResult:
    """Run the suite on what `sample` has kept, and write Data Docs into `folder`."""
    questions = asked(sample.rules)
    with _quiet():
        from expectations import data_docs

        context = _context()
        suite = _suite(context, sample, questions)
        found = _run(context, suite, _pandas(sample.values))
        docs = data_docs.build(context, suite, found, folder)
    rows, broken = sample.rows, sample.broken
    by_rule: dict[str, list[Any]] = {rule.name: [] for rule in sample.rules}
    for result in found.results:
        by_rule[result.expectation_config.meta["rule"]].append(result)
    results = [_result(rule, by_rule[rule.name], rows, broken[rule.name]) for rule in sample.rules]
    return SuiteResult(len(rows), sample.seen, sample.sampled, sample.seed, tuple(results), docs)


def _result(rule: Rule, found: Sequence[Any], rows: pl.Series, broken: pl.Series) -> RuleResult:
    """One rule's result out of those of its expectations: broken where any of them is."""
    error = next((text for result in found if (text := _error(result.exception_info))), None)
    if error is None and len(found) != len(rule.checks):
        error = f"{len(rule.checks)} expectations were asked and {len(found)} answered"
    places = sorted({int(at) for result in found for at in result.result.get("unexpected_index_list") or ()})
    ours = set(broken.arg_true().to_list())
    return RuleResult(
        rule.name,
        rule.severity,
        rows=tuple(rows.gather(places).to_list()),
        disagreements=len(ours.symmetric_difference(places)),
        error=error,
    )


def _error(info: Mapping[str, Any] | None) -> str | None:
    """The message in an exception_info, which is one exception or a dictionary of them by metric."""
    if not info:
        return None
    for one in [info] if "raised_exception" in info else info.values():
        if one.get("raised_exception"):
            return str(one.get("exception_message") or "it failed without a message")
    return None


def _context() -> Any:
    import great_expectations as gx

    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


def _suite(context: Any, sample: Sample, questions: Iterable[tuple[str, Rule, Check]]) -> Any:
    import great_expectations as gx

    suite = gx.ExpectationSuite(name=sample.name, expectations=[_expectation(*question) for question in questions])
    return context.suites.add(suite)


def _run(context: Any, suite: Any, table: pd.DataFrame) -> Any:
    asset = context.data_sources.add_pandas("catalogue").add_dataframe_asset("products")
    batch = asset.add_batch_definition_whole_dataframe("batch").get_batch({"dataframe": table})
    # COMPLETE without index columns gives plain positions: with them, 200,000 rows take ten seconds instead of one.
    return batch.validate(suite, result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False})


def _expectation(column: str, rule: Rule, check: Check) -> Any:
    """The expectation that asks what `check` asks."""
    import great_expectations.expectations as gxe

    arguments: dict[str, Any] = {}
    match check.kind:
        case "in_set":
            arguments["value_set"] = list(check.values)
        case "matches" | "not_matches":
            arguments["regex"] = _python_pattern(check.pattern)
        case "length_between" | "between":
            arguments |= {"min_value": check.least, "max_value": check.most}
    return getattr(gxe, EXPECTATIONS[check.kind])(
        column=column,
        severity="critical" if rule.severity == "reject" else "warning",
        meta={"rule": rule.name},
        notes=rule.statement,
        **arguments,
    )


def _python_pattern(pattern: str) -> str:
    r"""`pattern` as Python's re understands it: its `$` also matches before a last line end, Rust's does not."""
    if re.search(r"\(\?[a-z]*m", pattern):  # multi-line: there both mean the same
        return pattern
    pieces = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, flags=re.DOTALL)
    return "".join(r"\Z" if piece == "$" else piece for piece in pieces)


def _pandas(values: pl.DataFrame) -> pd.DataFrame:
    """The values as pandas takes them least surprisingly: numbers as float64, text as Python strings."""
    import pandas as pd

    columns = {
        column.name: pd.Series(column.to_numpy(), dtype="float64")
        if column.dtype == pl.Float64
        else pd.Series(column.to_list(), dtype="object")
        for column in values
    }
    return pd.DataFrame(columns)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings about our patterns' groups, and Python's regular expressions in pandas.

    Both hold for the whole process: what runs beside it must not need warnings or pandas' own way.
    """
    import pandas as pd

    # pandas' Arrow strings match with RE2, whose \s, \w and \d know ASCII only; Rust's and Python's know Unicode.
    with warnings.catch_warnings(), pd.option_context("mode.string_storage", "python"):
        warnings.simplefilter("ignore")
        yield
