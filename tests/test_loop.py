"""The loop, for real: a Prefect server, a worker, the deployments of prefect.yaml and the automations of deploy/.

One server and one worker for the file, in the order in which things happen to a shop: it opens, its season changes, an
upstream system goes wrong. Who is to be told listens on loopback, once for AISLE_WEBHOOK and once for the automations.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalogs import demo, registry
from core.settings import get_settings
from tests import sink
from tests.damage import shuffle_labels
from tests.prefect_server import Environment, ask, prefect, running, serving, until
from tests.sink import Sink
from tests.test_packaging import copy_of_the_project
from warehouse.home import get_home
from warehouse.query import query

PROJECT = Path(__file__).resolve().parent.parent
ROWS = 1_500
SEASON = 60
"""Days after which everything in the shop is of another season."""
BEGINS_S = 45
"""Seconds from setting the schedule to its first run: the server has to come by in between."""
SCHEDULED = 8
"""Times that a schedule is set, each for a while later, where the server has not come by: the machine may be busy."""
A_SECOND = timedelta(seconds=1)
RUN_S = 900.0
"""Longest wait for a run: it imports all libraries anew, beside whatever else the machine does."""

POLICY = """
[drift]
min_rows = 100

[retrain]
drift_batches = 1
pause_days = 0

[freshness]
max_days = 1e-9
"""
"""Of the shop: the first drift asks for a new model, and what is not of the same run is stale."""

pytestmark = pytest.mark.slow


@dataclass
class Stage:
    """Everything that the tests of this file share.

    Attributes:
        project: a copy of the project, where it was deployed from; its home is `var`.
        environment: in which Prefect's client finds the server.
        direct: gets what AISLE_WEBHOOK is posted.
        alerts: gets what Prefect's automations post.
    """

    project: Path
    environment: Environment
    direct: Sink
    alerts: Sink

    @property
    def source(self) -> Path:
        """The folder that the nightly deployment reads."""
        return self.project / "var" / "demo"

    def runs(self, deployment: str, *states: str) -> list[dict[str, Any]]:
        """Flow runs of a deployment, FLOW/NAME, in the order of their starts; only those in `states`, if any."""
        flow, name = deployment.split("/")
        filters: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
        found = ask(self.environment, "flow_runs/filter", {"sort": "START_TIME_ASC", **filters})
        return [run for run in found if not states or run["state_name"] in states]

    def ended(self, deployment: str, number: int) -> dict[str, Any]:
        """The run of a deployment that ends as the `number`-th."""
        states = ("Completed", "Failed", "Crashed", "Cancelled")
        what = f"{number} runs of {deployment}"
        done = until(what, lambda: len(found := self.runs(deployment, *states)) >= number and found, RUN_S)
        run: dict[str, Any] = done[number - 1]
        return run

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events of that name that the server has got."""
        now = datetime.now(UTC)
        times = {"since": (now - timedelta(hours=6)).isoformat(), "until": (now + timedelta(hours=1)).isoformat()}
        found: list[dict[str, Any]] = ask(
            self.environment,
            "events/filter",
            {"filter": {"occurred": times, "event": {"name": [name]}, "order": "ASC"}},
        )["events"]
        return found

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the shop's warehouse."""
        os.environ["AISLE_HOME"] = str(self.project / "var")
        get_settings.cache_clear()
        return query(get_home(), statement).rows

    def told(self, name: str, by: Callable[[Stage], Sink]) -> dict[str, Any]:
        """The first object about an event that came to a sink."""
        found = until(f"{name} at the sink", lambda: [body for body in by(self).bodies if body["event"] == name])
        body: dict[str, Any] = found[0]
        return body


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with all deployments on this machine, automations, a worker, and the nightly run soon to begin."""
    folder = tmp_path_factory.mktemp("loop")
    project = copy_of_the_project(folder)
    shutil.copytree(PROJECT / "deploy", project / "deploy")
    shutil.copy(PROJECT / "prefect.yaml", project)
    (folder / "catalogues").mkdir()
    (folder / "catalogues" / "demo.toml").write_text((registry.BUILTIN / "demo.toml").read_text() + POLICY)
    demo.generate(project / "var" / "demo", ROWS, seed=1, day=0)
    before = os.environ.get("AISLE_HOME")
    with sink.listening() as direct, sink.listening() as alerts, serving(folder) as environment:
        prefect("work-pool create local --type process", project, environment)
        prefect("--no-prompt deploy --name demo", project, environment)
        create = [sys.executable, str(project / "deploy" / "automations" / "create.py")]
        subprocess.run(create, env=environment | {"AISLE_WEBHOOK": alerts.address}, cwd=project, check=True)
        works_with = environment | {"AISLE_CATALOGS": str(folder / "catalogues"), "AISLE_WEBHOOK": direct.address}
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local", "--limit", "1"]
        with running(worker, folder / "worker.log", folder, works_with):
            begin_soon(environment)
            yield Stage(project, works_with, direct, alerts)
    os.environ.pop("AISLE_HOME", None)
    if before is not None:
        os.environ["AISLE_HOME"] = before
    get_settings.cache_clear()


def begin_soon(environment: Environment) -> None:
    """Give the nightly deployment a second schedule: nobody waits until three in the morning."""
    of_nightly = {"flows": {"name": {"any_": ["nightly"]}}, "deployments": {"name": {"any_": ["demo"]}}}
    (deployment,) = ask(environment, "deployments/filter", of_nightly)
    route = f"deployments/{deployment['id']}/schedules"
    for attempt in range(1, SCHEDULED + 1):
        begins = datetime.now(UTC) + timedelta(seconds=BEGINS_S * attempt)
        soon = {"interval": 86_400, "anchor_date": begins.isoformat(), "timezone": "UTC"}
        (schedule,) = ask(environment, route, [{"schedule": soon, "active": True}])
        while datetime.now(UTC) < begins:
            runs = ask(environment, "flow_runs/filter", of_nightly)
            if any(abs(datetime.fromisoformat(run["expected_start_time"]) - begins) < A_SECOND for run in runs):
                return
            time.sleep(0.5)
        httpx.delete(f"{environment['PREFECT_API_URL']}/{route}/{schedule['id']}", timeout=30).raise_for_status()
    pytest.fail("the server never came by its schedules")


def test_the_schedule_starts_the_first_night(stage: Stage) -> None:
    run = stage.ended("nightly/demo", 1)
    assert (run["state_name"], run["auto_scheduled"]) == ("Completed", True)
    assert stage.sql("SELECT model_version, status FROM models") == [("v1", "champion")]
    assert stage.told("aisle.model.promoted", lambda stage: stage.direct)["facts"]["version"] == "v1"
    (event,) = until("the event", lambda: stage.events("aisle.model.promoted"))
    assert event["resource"]["prefect.resource.id"] == "aisle.catalog.demo"
    assert {one["prefect.resource.role"] for one in event["related"]} >= {"flow-run", "deployment"}
    assert not stage.runs("retrain/demo")


def test_a_batch_that_drifted_ends_in_a_new_champion(stage: Stage) -> None:
    demo.generate(stage.source, ROWS, seed=1, day=SEASON)
    prefect("deployment run nightly/demo", stage.project, stage.environment)
    assert stage.ended("nightly/demo", 2)["state_name"] == "Completed"
    assert stage.sql("SELECT count(*) > 0 FROM drift WHERE drifted") == [(True,)]
    assert stage.sql("SELECT DISTINCT wanted FROM retraining WHERE rule = 'drift' AND met") == [(True,)]
    run = stage.ended("retrain/demo", 1)
    assert run["state_name"] == "Completed"
    assert run["parameters"]["catalog"] == "demo"
    assert run["parameters"]["why"].startswith("demo: A new model is wanted: drift with 1 batch in a row")
    assert stage.told("aisle.drift", lambda stage: stage.alerts)["catalog"] == "demo"
    assert stage.sql("SELECT model_version, status FROM models ORDER BY ALL") == [
        ("v1", "former champion"),
        ("v2", "champion"),
    ]
    assert stage.sql("SELECT DISTINCT model_version FROM predictions") == [("v2",)]
    assert len(until("the event", lambda: len(told := stage.events("aisle.model.promoted")) > 1 and told)) == 2


def test_a_damaged_batch_ends_in_a_challenger_that_is_refused(stage: Stage, tmp_path: Path) -> None:
    later = demo.generate(tmp_path, 4 * ROWS, seed=1, day=2 * SEASON)
    shuffle_labels(later, stage.source / later.name)
    prefect("deployment run nightly/demo", stage.project, stage.environment)
    assert stage.ended("nightly/demo", 3)["state_name"] == "Completed"
    before = stage.sql("SELECT * FROM predictions ORDER BY product_id")
    assert stage.ended("retrain/demo", 2)["state_name"] == "Completed"
    assert stage.sql("SELECT model_version, status FROM models ORDER BY ALL")[1:] == [
        ("v2", "champion"),
        ("v3", "refused"),
    ]
    assert stage.sql("SELECT * FROM predictions ORDER BY product_id") == before
    for way in (lambda stage: stage.direct, lambda stage: stage.alerts):
        told = stage.told("aisle.challenger.refused", way)
        assert (told["catalog"], told["facts"]["version"], told["facts"]["champion_before"]) == ("demo", "v3", "v2")
        assert told["summary"].startswith("v3 of demo was refused: ")
        assert told["run_id"]


def test_a_run_that_fails_is_told_once_by_each_way(stage: Stage) -> None:
    prefect("deployment run ingest/demo --param 'source=[\"absent.jsonl\"]'", stage.project, stage.environment)
    assert stage.ended("ingest/demo", 1)["state_name"] == "Failed"
    told = stage.told("aisle.run.failed", lambda stage: stage.direct)
    assert told["summary"].startswith("ingest of demo failed: SourceMissing: ")
    alert = stage.told("prefect.flow-run.Failed", lambda stage: stage.alerts)
    assert alert["summary"].startswith("ingest demo absent.jsonl: ")
    assert "/runs/flow-run/" in alert["address"]
    for way in (stage.direct, stage.alerts):
        assert [body["event"] for body in way.bodies if "fail" in body["event"].lower()] == [
            "aisle.run.failed" if way is stage.direct else "prefect.flow-run.Failed"
        ]


def test_stale_data_is_told_by_each_way(stage: Stage) -> None:
    prefect("deployment run monitor/demo", stage.project, stage.environment)
    assert stage.ended("monitor/demo", 1)["state_name"] == "Completed"
    for way in (lambda stage: stage.direct, lambda stage: stage.alerts):
        told = stage.told("aisle.data.stale", way)
        assert told["summary"].startswith("demo is stale: products last changed 0.0 days ago")
