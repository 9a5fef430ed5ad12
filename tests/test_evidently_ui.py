"""`aisle report ui`: Evidently's own UI over what the recorded runs compared, to look at and no more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from core.settings import get_settings
from reports import drift, drift_page, workspace
from tasks.summarise_run import make_visible
from tests import stored
from tests.prefect_server import until
from warehouse.home import get_home
from warehouse.recorded import recorded_runs
from warehouse.runs import Run, open_run

ROWS = 600


def monitored(seed: int, *, made: bool = True) -> Run:
    """A run of the shelf that compared two samples and kept what Evidently made of it."""
    frame = pl.DataFrame(
        {"title": [f"title {(seed * i) % 97}" for i in range(ROWS)], "confidence": [0.5, 0.9] * (ROWS // 2)}
    )
    with open_run("shelf", "monitor") as run:
        result = drift.compare(frame, frame, stored.spec(), comparison="catalogue", seed=seed)
        drift_page.write(run.reports, result, catalog="shelf", run_id=run.run_id, model_version="v1")
        if not made:
            raise InterruptedError
    return run


@contextmanager
def served(*options: str) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
    """A client of the UI, and what the command said of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aisle", "report", "ui", "--port", str(port), "--json", *options]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "}\n")
        said = json.loads("".join(lines) + "}")
        with httpx.Client(base_url=said["address"], timeout=60) as client:
            until("an answer", lambda: _answers(client))
            yield client, said
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/version").is_success
    except httpx.TransportError:
        return False


def test_a_night_that_is_recorded_twice_is_shown_once(shelves: Path, tmp_path: Path) -> None:
    """When its predictions can be seen, and at its end."""
    frame = pl.DataFrame({"title": [f"title {i % 97}" for i in range(ROWS)], "confidence": [0.5, 0.9] * (ROWS // 2)})
    for night in (1, 2):
        with open_run("shelf", "nightly") as run:
            make_visible(run.run_id)
            result = drift.compare(frame, frame, stored.spec(), comparison="catalogue", seed=night)
            drift_page.write(run.reports, result, catalog="shelf", run_id=run.run_id, model_version="v1")
    recorded = recorded_runs(get_home(), "shelf")["run_id"].to_list()
    assert len(recorded) == 4
    assert workspace.gather(tmp_path / "workspace", get_home().reports, {"shelf": recorded}, 10) == ({"shelf": 2}, [])


@pytest.mark.slow
def test_the_ui_shows_recorded_runs_and_changes_nothing(shelves: Path) -> None:
    runs = [monitored(seed) for seed in (1, 2, 3)]
    with pytest.raises(InterruptedError):
        monitored(4, made=False)
    killed = get_home().run_reports("shelf", "29990101T000000-killed")
    shutil.copytree(runs[0].reports, killed)
    (runs[2].reports / "evidently" / "catalogue.json").write_text('{"report": ')

    with served() as (client, said):
        assert said["shown"] == {"shelf": 2}
        assert said["unusable"] == [f"{runs[2].reports / 'evidently' / 'catalogue.json'}: JSONDecodeError"]
        (project,) = client.get("/api/projects/").json()
        assert project["name"] == "shelf"
        shown = client.get(f"/api/projects/{project['id']}/reports").json()
        assert sorted(one["metadata"]["run_id"] for one in shown) == [run.run_id for run in runs[:2]]
        assert {tuple(one["tags"]) for one in shown} == {("shelf", "catalogue")}
        page = client.get(f"/api/projects/{project['id']}/{shown[0]['id']}/data").json()
        assert "title" in json.dumps(page)
        of_interest = {
            "tags": ["catalogue"],
            "metadata": {},
            "metric": "evidently:metric_v2:ValueDrift",
            "metric_labels": {},
        }
        route = f"/api/v2/snapshots/{project['id']}/data_series_batch"
        drawn = client.post(route, json={"series_filter": [of_interest]}).json()
        assert [one["metadata"]["run_id"] for one in drawn["sources"]] == [run.run_id for run in runs[:2]]
        lines = [line["params"]["column"] for line in drawn["series"]]
        assert len(lines) == len(set(lines)) > 1, "a line a measure, through all runs"
        assert {len(line["values"]) for line in drawn["series"]} == {2}
        assert client.delete(f"/api/projects/{project['id']}").status_code == 403
        assert client.post("/api/projects/", json={"name": "mine"}).status_code == 403
        with pytest.raises(httpx.TransportError):  # an address of this machine, and not the one that it listens on
            httpx.get(said["address"].replace("127.0.0.1", "127.0.0.2"), timeout=5)
        assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 400
        assert '<div id="root">' in client.get("/").text

    with served("--runs", "2") as (client, said):
        assert said["shown"] == {"shelf": 1}, "of the newest two, one is damaged"
        (same,) = client.get("/api/projects/").json()
        assert same["id"] == project["id"], "an address in the UI holds"


def test_without_a_comparison_there_is_no_ui(shelves: Path, aisle: Any) -> None:
    stored.night([("1", "a long title", "Books")])
    code, _, err = aisle("report", "ui")
    assert code == 1
    assert "aisle monitor CATALOG makes one" in err


def test_a_port_that_is_taken_is_named(shelves: Path, aisle: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = aisle("report", "ui", "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "cannot listen there" in err


def test_report_alone_means_where_the_reports_lie(shelves: Path, aisle: Any) -> None:
    get_settings.cache_clear()
    stored.night([("1", "a long title", "Books")])
    monitored(1)
    named, unnamed = aisle("report", "show", "shelf", "--json"), aisle("report", "shelf", "--json")
    assert named == unnamed
    assert named[0] == 0
    assert [page["name"] for page in json.loads(named[1])["reports"]] == [
        "drift_catalogue",
        "drift_catalogue_evidently",
    ]
