"""The ingest flow: from a source to stored products, with every other row kept and explained."""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.digest_source import digest_source
from tasks.find_source import find_source
from tasks.read_file import read_file
from tasks.results import IngestResult
from tasks.store_rows import store_rows
from tasks.validate_rows import validate_rows
from tasks.write_validation import write_validation
from warehouse.runs import open_run


@flow(name="ingest", flow_run_name=run_name, task_runner=task_runner())
def ingest(catalog: str, source: list[str], within: str | None = None) -> IngestResult:
    """Read `source`, decide every row by the catalogue's rules, and store what is new or different.

    `within` is the id of a run that this is a part of.
    """
    with open_run(catalog, "ingest", source, within) as run:
        files = find_source(run.run_id)
        with digest_source.beside(files) as digest:
            read = read_file.each(files, shared=run.staging)
        run.source_digest = digest.result()
        with validate_rows.beside(run.run_id, read) as suite:
            store_rows(run.run_id, read)
        reports = write_validation(run.run_id, read, suite.result())
        return IngestResult.of(run, read, reports)
