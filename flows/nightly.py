"""The nightly flow: take the new file in, score what changed, look for drift."""

from __future__ import annotations

from prefect import flow

from core.orchestration import part, run_name, task_runner
from flows.ingest import ingest
from flows.monitor import monitor
from flows.score import score
from flows.train import train
from tasks.results import RunResult
from tasks.summarise_run import make_visible, needs_champion
from warehouse.runs import open_run


@flow(name="nightly", flow_run_name=run_name, task_runner=task_runner())
def nightly(catalog: str, source: list[str]) -> RunResult:
    """Ingest `source`, train if the catalogue has no champion yet, score what changed, and look for drift."""
    with open_run(catalog, "nightly", source) as run:
        ingested = part(ingest, catalog, source, within=run.run_id)
        trained = part(train, catalog, within=run.run_id) if needs_champion(run.run_id) else None
        scored = part(score, catalog, within=run.run_id)
        make_visible(run.run_id)
        watched = part(monitor, catalog, within=run.run_id)
        return RunResult.of(run, ingested, trained, scored, watched)
