"""Step: make staged rows products."""

from __future__ import annotations

from catalogs import registry
from core.orchestration import artifact_table, step
from tasks.read_file import FileRead
from warehouse.ingest import store
from warehouse.runs import joined


@step("store rows")
def store_rows(run_id: str, files: list[FileRead]) -> dict[str, int]:
    """Resolve repeated ids, compare with what is stored, and commit; returns the run's counts."""
    run = joined(run_id)
    store(run, registry.load(run.catalog), [file.staged for file in files])
    artifact_table(f"ingest-{run.catalog}", [run.counts], f"What became of every row that run {run_id} read")
    return run.counts
