"""Step: the same rules as a Great Expectations suite."""

from __future__ import annotations

from core.orchestration import step
from expectations.sample import Sample
from expectations.suite import SuiteResult, validate
from tasks.read_file import FileRead
from warehouse.runs import joined


@step("validate rows")
def validate_rows(run_id: str, files: list[FileRead]) -> SuiteResult:
    """Run the suite on the batch, or on a stated sample of it, and write Data Docs.

    It needs nothing that is stored, and takes one core: a flow runs it beside what stores the rows.
    """
    return validate(Sample.merged([file.sample for file in files]), joined(run_id).reports / "data_docs")
