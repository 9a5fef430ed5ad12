"""Step: the validation page."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import polars as pl

from catalogs import registry
from core.orchestration import step
from expectations.rules import compile as compile_rules
from expectations.rules import counted
from expectations.suite import SuiteResult
from reports import validation
from tasks.read_file import FileRead
from warehouse.runs import Run, joined

SHOWN_ROWS = 20_000
"""Rejected and conflicting rows that the page may choose from; all of them are in SQL."""


@step("write validation")
def write_validation(run_id: str, files: list[FileRead], suite: SuiteResult) -> dict[str, str]:
    """Write the page on what became of every row, with what the suite found; returns the paths of both."""
    run = joined(run_id)
    spec = registry.load(run.catalog)
    failed = sum((file.failed for file in files), Counter[str]())
    unread = sum((file.unread for file in files), Counter[str]())
    numbers = {field.column for field in spec.fields if field.kind == "number"}
    columns = files[0].columns if files else []
    page = validation.write(
        run.reports,
        catalog=run.catalog,
        run_id=run_id,
        source=run.source,
        counts=run.counts,
        rejects=_own(run, "rejects").rename({"source": "source_file", "line": "source_row"}),
        conflicts=_own(run, "conflicts").rename({"source": "source_file", "line": "source_row"}),
        rules=counted(compile_rules(spec), failed),
        suite=suite,
        columns=[
            replace(column, unread=unread[column.name]) if column.name in numbers else column for column in columns
        ],
        docs_link=suite.docs.relative_to(run.reports).as_posix(),
    )
    return {"validation": str(page), "data_docs": str(suite.docs)}


def _own(run: Run, kind: str) -> pl.DataFrame:
    """Rows that this run wrote, up to SHOWN_ROWS."""
    return run.scan(kind).filter(pl.col("run_id") == run.run_id).head(SHOWN_ROWS).collect()
