"""Alerts, for real: a Prefect server with the deployments and automations as declared, and who is told on loopback.

No flow of the demo runs here, tests/test_loop.py has that: a flow run announces events as steps do.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import sink
from tests.prefect_server import Environment, ask, prefect, serving, until
from tests.sink import Sink
from tests.test_packaging import copy_of_the_project

PROJECT = Path(__file__).resolve().parent.parent
SAID = 'titles are "longer": 漢字'
NIGHT = f"""
import core.orchestration
from prefect import flow
from warehouse.runs import announce, open_run

@flow
def night():
    with open_run("demo", "monitor") as run:
        announce(run, "aisle.retrain", {SAID!r}, {{"rules": ["drift"]}})
        announce(run, "aisle.drift", {SAID!r}, {{"comparison": "catalogue", "score": None}})
        announce(run, "aisle.challenger.refused", "v3 of demo was refused", {{"version": "v3"}})
        announce(run, "aisle.data.stale", "demo is stale")

night()
"""
TOLD = ["aisle.retrain", "aisle.drift", "aisle.challenger.refused", "aisle.data.stale"]

pytestmark = pytest.mark.slow


@dataclass
class Office:
    """A server after a night in which everything happened.

    Attributes:
        folder: the project that was deployed.
        environment: in which Prefect's client finds the server.
        direct: got what AISLE_WEBHOOK was posted.
        alerts: gets what the automations post.
    """

    folder: Path
    environment: Environment
    direct: Sink
    alerts: Sink

    def alert(self, event: str) -> dict[str, Any]:
        """The one alert about an event."""
        found = until(f"an alert of {event}", lambda: [body for body in self.alerts.bodies if body["event"] == event])
        assert len(found) == 1
        body: dict[str, Any] = found[0]
        return body

    def retrainings(self) -> list[dict[str, Any]]:
        """Flow runs of the retrain flow."""
        found: list[dict[str, Any]] = ask(
            self.environment, "flow_runs/filter", {"flows": {"name": {"any_": ["retrain"]}}}
        )
        return found


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    project = copy_of_the_project(folder)
    shutil.copytree(PROJECT / "deploy", project / "deploy")
    shutil.copy(PROJECT / "prefect.yaml", project)
    with sink.listening() as direct, sink.listening() as alerts, serving(folder) as environment:
        prefect("work-pool create local --type process", project, environment)
        prefect("--no-prompt deploy --name demo", project, environment)
        create = [sys.executable, str(project / "deploy" / "automations" / "create.py")]
        for _ in range(2):  # the second time replaces what the first has made
            subprocess.run(create, env=environment | {"AISLE_WEBHOOK": alerts.address}, cwd=project, check=True)
        night = environment | {"AISLE_HOME": str(folder / "var"), "AISLE_WEBHOOK": direct.address}
        subprocess.run([sys.executable, "-c", NIGHT], env=night, cwd=project, check=True)
        yield Office(project, environment, direct, alerts)


def test_the_webhook_is_told_of_all_in_their_order(office: Office) -> None:
    assert [body["event"] for body in office.direct.bodies] == TOLD
    assert office.direct.bodies[1]["summary"] == SAID


def test_the_event_that_asks_for_a_retraining_starts_it(office: Office) -> None:
    (run,) = until("a retraining", office.retrainings)
    assert run["parameters"] == {"catalog": "demo", "why": SAID}
    assert run["created_by"]["type"] == "AUTOMATION"


def test_the_automations_call_for_what_they_are_declared_for(office: Office) -> None:
    drift = office.alert("aisle.drift")
    assert (drift["catalog"], drift["summary"]) == ("demo", SAID)
    assert drift["facts"] == {"comparison": "catalogue", "score": None}
    assert drift["run_id"] == office.direct.bodies[1]["run_id"]
    assert office.alert("aisle.challenger.refused")["facts"] == {"version": "v3"}
    assert office.alert("aisle.data.stale")["summary"] == "demo is stale"


def test_a_run_that_failed_is_told_with_its_address(office: Office) -> None:
    (run,) = until("a retraining", office.retrainings)
    for state in ({"type": "RUNNING"}, {"type": "FAILED", "message": 'SourceMissing: no "file"'}):
        ask(office.environment, f"flow_runs/{run['id']}/set_state", {"state": state, "force": True})
    told = office.alert("prefect.flow-run.Failed")
    assert told["summary"] == f'{run["name"]}: SourceMissing: no "file"'
    assert told["address"].endswith(f"/runs/flow-run/{run['id']}")


def test_a_night_that_did_not_come_is_told(office: Office, tmp_path: Path) -> None:
    """The declared automation, with less patience, made from a file as Prefect's own command does it."""
    declared = yaml.safe_load((PROJECT / "deploy" / "automations" / "alerts.yaml").read_text())["automations"]
    (missing,) = [one for one in declared if one["trigger"].get("posture") == "Proactive"]
    missing["trigger"]["within"] = 12
    named = {"block_documents": {"name": {"any_": ["aisle-alerts"]}}}
    (block,) = ask(office.environment, "block_documents/filter", named)
    missing["actions"][0]["block_document_id"] = block["id"]
    (tmp_path / "missing.yaml").write_text(yaml.safe_dump({"automations": [missing]}))
    prefect(f"automation create --from-file '{tmp_path / 'missing.yaml'}'", office.folder, office.environment)
    told = until("the alarm", lambda: [body for body in office.alerts.bodies if body["event"] == "aisle.run.missing"])
    assert told[0]["catalog"] == "demo"
