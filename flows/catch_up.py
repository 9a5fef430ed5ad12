"""The catch-up flow: many dated files in order, each a run of its own."""

from __future__ import annotations

from prefect import flow

from core.orchestration import part, run_name, task_runner
from flows.ingest import ingest
from tasks.list_batches import list_batches
from tasks.results import CatchUpResult


@flow(name="catch up", flow_run_name=run_name, task_runner=task_runner())
def catch_up(catalog: str, source: list[str]) -> CatchUpResult:
    """Ingest the files of `source` one after another; the first ones are passed over as far as runs have read them.

    Killed, it goes on where it was: what had been recorded stays, and the file that was being read is read again.
    """
    batches = list_batches(catalog, source)
    return CatchUpResult.of(catalog, batches, [part(ingest, catalog, [name]) for name in batches.todo])
