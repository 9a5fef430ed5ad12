"""The validation page of one ingest: what was read, what became of every row, which rules were broken, and by what.

`validation.html` is for eyes and opens offline; `validation.json` beside it says the same to machines, but for samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Protocol

import orjson
import polars as pl

from reports import page

__all__ = ["ColumnProfile", "RuleCount", "RuleResult", "SuiteResult", "profile", "reason_kinds", "write"]

SHOWN_REJECTS = 40
SHOWN_PER_KIND = 6
SHOWN_REASONS = 12
SHOWN_CONFLICTS = 20
SHOWN_EXAMPLES = 3
UNDECLARED = "not declared"

# What becomes of a row that was read, in the order of the picture.
PLACES: tuple[tuple[str, page.Tone], ...] = (
    ("stored", "good"),
    ("unchanged", "plain"),
    ("repeated", "quiet"),
    ("rejected", "bad"),
)


class RuleCount(Protocol):
    """A rule and the number of rows that broke it (`expectations.rules.RuleCount`)."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def column(self) -> str: ...  # noqa: D102
    @property
    def severity(self) -> str: ...  # noqa: D102
    @property
    def statement(self) -> str: ...  # noqa: D102
    @property
    def why(self) -> str: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102


class RuleResult(Protocol):
    """What the suite found for one rule (`expectations.suite.RuleResult`)."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102
    @property
    def disagreements(self) -> int: ...  # noqa: D102
    @property
    def error(self) -> str | None: ...  # noqa: D102


class SuiteResult(Protocol):
    """What the suite found on the batch (`expectations.suite.SuiteResult`)."""

    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def of(self) -> int: ...  # noqa: D102
    @property
    def sampled(self) -> bool: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def results(self) -> Sequence[RuleResult]: ...  # noqa: D102
    @property
    def success(self) -> bool: ...  # noqa: D102
    @property
    def agrees(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class ColumnProfile:
    """What a column of the source looks like.

    Attributes:
        name: in the source.
        kind: how it is used: text, keyword, ids, number, label, id, kept, forbidden or `not declared`.
        nulls: share of the rows without a value, 0 to 1.
        distinct: different values among the rows looked at; None where nobody counted.
        examples: a few values.
        unread: rows of the whole source that hold something else than a number; None where none is asked for.
    """

    name: str
    kind: str
    nulls: float
    distinct: int | None
    examples: tuple[str, ...]
    unread: int | None = None


def profile(frame: pl.DataFrame, kinds: Mapping[str, str]) -> list[ColumnProfile]:
    """Profile every column of `frame`: those of `kinds` (column to kind) first, in that order, then undeclared ones."""
    names = [name for name in kinds if name in frame.columns]
    names += [name for name in frame.columns if name not in kinds]
    return [_profile(frame[name], kinds.get(name, UNDECLARED)) for name in names]


def _profile(column: pl.Series, kind: str) -> ColumnProfile:
    if isinstance(column.dtype, pl.List):
        column = column.list.eval(pl.element().cast(pl.String)).list.join(", ")
    text = column.cast(pl.String, strict=False)
    filled = text.filter(text.str.contains(r"\S").fill_null(value=False))
    commonest = filled.value_counts(sort=True).to_series(0).head(SHOWN_EXAMPLES)
    missing = 1 - len(filled) / len(text) if len(text) else 0.0
    return ColumnProfile(column.name, kind, missing, filled.n_unique(), tuple(commonest.to_list()))


def write(
    folder: Path,
    *,
    catalog: str,
    run_id: str,
    source: str | Sequence[str],
    counts: Mapping[str, int],
    rejects: pl.DataFrame,
    conflicts: pl.DataFrame,
    rules: Sequence[RuleCount],
    suite: SuiteResult | None,
    columns: Sequence[ColumnProfile],
    docs_link: str | None = None,
) -> Path:
    """Write `validation.html` and `validation.json` into `folder`.

    Args:
        folder: made if it is not there.
        catalog: name of the catalogue.
        run_id: of the ingest.
        source: what was read, as the user gave it.
        counts: rows read, stored, unchanged, repeated, rejected and removed; also conflicts, where not all are given.
        rejects: source_file, source_row, raw, reasons; all of the run's, or the first of them.
        conflicts: rows that lost against a later row of the same id and disagree with it: product_id, source_file,
            source_row, known_path, kept_source, kept_line, kept_path, differs.
        rules: every rule with the number of rows that broke it.
        suite: what Great Expectations found; None where it did not run.
        columns: what the source's columns look like.
        docs_link: address of Great Expectations' Data Docs, relative to `folder`.

    Returns:
        The page.
    """
    sources = [source] if isinstance(source, str) else list(source)
    made_at = datetime.now(UTC)
    reasons = _reasons(rejects)
    facts = {"catalog": catalog, "run_id": run_id, "source": sources, "made_at": made_at, "rows": dict(counts)}
    machine = facts | {
        "balanced": _balanced(counts),
        "rules": _rules(rules, suite),
        "suite": _suite(suite),
        "reasons": [{"reason": r["kind"], "rows": r["rows"]} for r in reasons],
        "reasons_counted_on": rejects.height,
        "conflicts": counts.get("conflicts", conflicts.height),
        "columns": [asdict(column) for column in columns],
        "data_docs": docs_link,
    }
    page.write_text(folder / "validation.json", orjson.dumps(machine, option=orjson.OPT_INDENT_2).decode() + "\n")
    return page.write(
        folder / "validation.html",
        "validation.html",
        title=f"Validation of {catalog}",
        run_id=run_id,
        facts=[("Run", run_id), ("Source", _named(sources))],
        made_at=made_at,
        counts=counts,
        picture=[(name, counts.get(name, 0), tone) for name, tone in PLACES],
        balanced=machine["balanced"],
        rules=sorted(_rules(rules, suite), key=lambda rule: -rule["failed"]),
        suite=suite,
        reasons=reasons[:SHOWN_REASONS],
        more_reasons=max(0, len(reasons) - SHOWN_REASONS),
        rejects=_shown_rejects(rejects),
        rejects_known=rejects.height,
        conflicts=_shown_conflicts(conflicts),
        conflict_count=machine["conflicts"],
        columns=columns,
        docs_link=docs_link,
    )


def _named(sources: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(sources[:most])
    return shown if len(sources) <= most else f"{shown} and {len(sources) - most:,} more"


def _balanced(counts: Mapping[str, int]) -> bool:
    """Every row that was read is in one of the places."""
    return counts.get("read", 0) == sum(counts.get(name, 0) for name, _ in PLACES)


def _rules(rules: Sequence[RuleCount], suite: SuiteResult | None) -> list[dict[str, Any]]:
    """Each rule with its count, and what the suite found for it on the rows it looked at."""
    found = {result.name: result for result in suite.results} if suite is not None else {}
    return [
        {
            "name": rule.name,
            "column": rule.column,
            "severity": rule.severity,
            "statement": rule.statement,
            "why": rule.why,
            "failed": rule.failed,
            "suite": None
            if (result := found.get(rule.name)) is None
            else {"failed": result.failed, "disagreements": result.disagreements, "error": result.error},
        }
        for rule in rules
    ]


def _suite(suite: SuiteResult | None) -> dict[str, Any] | None:
    if suite is None:
        return None
    sample = {"rows": suite.rows, "of": suite.of, "sampled": suite.sampled, "seed": suite.seed}
    return sample | {"success": suite.success, "agrees": suite.agrees}


def reason_kinds(rejects: pl.DataFrame) -> dict[str, int]:
    """Rows by kind of reason: the reason without the value and the place that it names; a row may have several."""
    return {found["kind"]: found["rows"] for found in _reasons(rejects)}


def _kind(reason: pl.Expr) -> pl.Expr:
    """A reason without the value and the place that it names, so that those of one kind are one."""
    # A value stands in quotes after a space; an apostrophe inside a word is none.
    plain = reason.str.replace(r" \(did you mean .*\)$", "").str.replace(r"(?s)(^|[\s(])'.*'", "$1'…'")
    placed = plain.str.replace_all(r"\b(column|line|row|byte|character|position) [0-9][0-9,]*\b", "$1 …")
    return placed.str.replace(r"^[0-9][0-9,]* cells\b", "… cells")


def _reasons(rejects: pl.DataFrame) -> list[dict[str, Any]]:
    """Kinds of reasons with the number of rows, commonest first, and an example each."""
    return (
        rejects.select(pl.col("reasons").explode(empty_as_null=False, keep_nulls=False).alias("example"))
        .with_columns(_kind(pl.col("example")).alias("kind"))
        .group_by("kind")
        .agg(pl.len().alias("rows"), pl.col("example").first())
        .sort("rows", "kind", descending=[True, False])
        .to_dicts()
    )


def _shown_rejects(rejects: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows that show every kind of rejection, as far as there is room, in the order of the source."""
    kinds = pl.col("reasons").list.eval(_kind(pl.element())).list.join("\n")
    return (
        rejects.with_row_index("at")
        .with_columns(pl.int_range(pl.len()).over(kinds).alias("nth"))
        .filter(pl.col("nth") < SHOWN_PER_KIND)
        .sort("nth", "at")
        .head(SHOWN_REJECTS)
        .sort("at")
        .drop("at", "nth")
        .to_dicts()
    )


def _shown_conflicts(conflicts: pl.DataFrame) -> list[dict[str, str]]:
    """The first conflicts, in words: the product, both rows and labels, and what else differs."""
    shown = []
    for row in conflicts.head(SHOWN_CONFLICTS).iter_rows(named=True):
        differs = ["label" if name == "known_path" else name for name in row["differs"] or []]
        shown.append(
            {
                "product": row["product_id"],
                "lost": _place(row["source_file"], row["source_row"]),
                "kept": _place(row["kept_source"], row["kept_line"]),
                "label": _label(row["known_path"]),
                "kept_label": _label(row["kept_path"]),
                "differs": ", ".join(differs),
            }
        )
    return shown


def _place(file: str, line: int) -> str:
    return f"{PurePath(file).name}, line {line:,}"


def _label(path: Sequence[str] | None) -> str:
    return "none" if path is None else " > ".join(path)
