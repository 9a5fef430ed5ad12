"""The maintain flow: check everything, write small files together, delete what nobody needs."""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.check_tables import check_tables
from tasks.results import MaintainResult
from tasks.tidy_tables import tidy_tables


@flow(name="maintain", flow_run_name=run_name, task_runner=task_runner())
def maintain(catalog: str) -> MaintainResult:
    """Check every table and model of a catalogue; where all is well, compact its tables and delete old files."""
    found = check_tables(catalog)
    return MaintainResult.of(catalog, found, tidy_tables(catalog, found))
