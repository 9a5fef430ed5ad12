"""Evidently's own UI over the comparisons of all recorded runs.

A run keeps the snapshot of each comparison beside its pages. When the UI starts, a workspace is made of them in a
folder of its own, a project a catalogue. Runs never write to it: so none can leave a broken one, and what was not
recorded is not in it.
"""

from __future__ import annotations

import json
import os
import secrets
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reports import page

if TYPE_CHECKING:
    from evidently.core.serialization import SnapshotModel
    from evidently.sdk.models import DashboardModel

    from reports.evidently_report import EvidentlyRun

__all__ = ["HOST", "gather", "keep", "serve"]

HOST = "127.0.0.1"
"""The UI asks nobody who they are: it listens on this machine alone."""

_KEPT = "evidently"
"""Folder of the snapshots, in a run's reports."""

_NAMESPACE = uuid.UUID("6f0c4a52-3a0e-5d5a-9a53-0f5b5a1f7f3e")
"""Of our ids: the same catalogue and run have the same address in the UI, whenever it is started."""


def keep(
    folder: Path, report: EvidentlyRun, *, comparison: str, made_at: datetime, about: Mapping[str, str | None]
) -> Path:
    """Keep a snapshot for the UI.

    Args:
        folder: the run's reports.
        report: what Evidently made of the comparison.
        comparison: its name.
        made_at: when, UTC.
        about: what the UI shows beside it: catalogue, run, model; what is None is left out.
    """
    from evidently.legacy.utils import NumpyEncoder

    model = report.snapshot.to_snapshot_model()
    model.name = " ".join(str(part) for part in (comparison, about.get("run_id")) if part)
    model.timestamp = made_at
    model.metadata = {name: value for name, value in about.items() if value is not None}
    return page.write_text(folder / _KEPT / f"{comparison}.json", json.dumps(model.dict(), cls=NumpyEncoder))


def gather(
    folder: Path, reports: Path, recorded: Mapping[str, Collection[str]], most_runs: int
) -> tuple[dict[str, int], list[str]]:
    """Make a workspace of the snapshots that recorded runs have kept.

    Args:
        folder: where to, empty.
        reports: the folder of all reports.
        recorded: run ids of each catalogue.
        most_runs: runs shown of each catalogue, the newest; Evidently's server holds them all in memory.

    Returns:
        How many comparisons are shown of each catalogue that has any, and what could not be read: path and why.
    """
    _count_nobody()
    from evidently.sdk.models import ProjectModel
    from evidently.ui.storage.local.base import LocalState

    workspace = LocalState(str(folder))
    shown: dict[str, int] = {}
    unusable: list[str] = []
    for catalog in sorted(recorded):
        project = ProjectModel(id=uuid.uuid5(_NAMESPACE, catalog), name=catalog)
        comparisons = set()
        for path in _kept(reports / catalog, recorded[catalog], most_runs):
            snapshot = _read(path, unusable)
            if snapshot is not None:
                name = uuid.uuid5(project.id, path.relative_to(reports).as_posix())
                workspace.write_snapshot(project.id, name, snapshot)
                comparisons.add(path.stem)
                shown[catalog] = shown.get(catalog, 0) + 1
        if comparisons:
            workspace.write_project(project)
            workspace.write_dashboard(project.id, _dashboard(sorted(comparisons)))
    return shown, unusable


def serve(folder: Path, port: int) -> None:
    """Serve a workspace on loopback until the process is told to end. Nothing can be changed in it."""
    _count_nobody()
    import uvicorn
    from evidently.ui.service.app import create_app, get_config
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # With a secret that nobody knows, Evidently's server refuses every change.
    config = get_config(host=HOST, port=port, workspace=str(folder), secret=secrets.token_urlsafe())
    config.storage.autorefresh = False
    # A page of somebody else's, in a browser of this machine, gets here under another name.
    app = TrustedHostMiddleware(create_app(config), allowed_hosts=[HOST, "localhost"])
    uvicorn.run(app, host=HOST, port=port, log_level="warning")


def _count_nobody() -> None:
    # Evidently counts its users unless this is set before it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "1")


def _kept(reports: Path, run_ids: Collection[str], most_runs: int) -> list[Path]:
    """Snapshots of the newest runs that have any; run ids sort by time."""
    # A nightly run is recorded twice: when its predictions can be seen, and at its end.
    by_run = [found for run_id in sorted(set(run_ids)) if (found := sorted((reports / run_id / _KEPT).glob("*.json")))]
    return [path for found in by_run[-most_runs:] for path in found]


def _read(path: Path, unusable: list[str]) -> SnapshotModel | None:
    """A snapshot; None for one that Evidently's server would refuse to start with."""
    from evidently.core.serialization import SnapshotModel

    try:
        snapshot = SnapshotModel.parse_obj(json.loads(path.read_text(encoding="utf-8")))
    except Exception as error:  # noqa: BLE001 - damaged, or of an Evidently that wrote them otherwise
        unusable.append(f"{path}: {type(error).__name__}")
        return None
    for result in snapshot.metric_results.values():
        # Runs differ in their thresholds, and the plots would have a line for each threshold, of one run.
        if (location := getattr(result, "metric_value_location", None)) is not None:
            location.metric.params.pop("threshold", None)
    return snapshot


def _dashboard(comparisons: list[str]) -> DashboardModel:
    """How far each measure moved from run to run, a plot a comparison."""
    from evidently.sdk.models import DashboardModel, DashboardTabModel, PanelMetric
    from evidently.sdk.panels import line_plot_panel

    panels = [
        line_plot_panel(
            title=f"Drift: {comparison}",
            description="Distance of each measure from its reference, run by run",
            values=[PanelMetric(metric="ValueDrift", tags=[comparison])],
        )
        for comparison in comparisons
    ]
    tab = DashboardTabModel(title="Drift", panels=[panel.id for panel in panels])
    return DashboardModel(tabs=[tab], panels=panels)
