"""What is declared for Prefect fits what is told: events by their names, catalogues by theirs, payloads as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml
from prefect.cli.deploy._triggers import _initialize_deployment_triggers
from prefect.events.schemas.automations import AutomationCore

from catalogs import registry
from core.events import NAMES, Event

PROJECT = Path(__file__).resolve().parent.parent
ALERTS = yaml.safe_load((PROJECT / "deploy" / "automations" / "alerts.yaml").read_text())["automations"]
DEPLOYMENTS = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
EVENT = Event("aisle.drift", "shop", "20261121T031502-4f2a9c", 'titles are "longer": 漢字\n', {"scores": [0.25, None]})


def test_every_event_is_documented() -> None:
    page = (PROJECT / "docs" / "alerts.md").read_text()
    documented = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `aisle.")]
    assert sorted(documented) == sorted(NAMES)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["name"]))
def test_an_alert_waits_for_an_event_that_there_is(alert: dict[str, Any]) -> None:
    automation = AutomationCore.model_validate(alert)
    assert automation.description
    expected = set(alert["trigger"]["expect"])
    assert expected <= {*NAMES, *(f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed"))}


def test_problems_have_an_alert_each() -> None:
    expected = {name for alert in ALERTS for name in alert["trigger"]["expect"]}
    problems = {"aisle.drift", "aisle.challenger.refused", "aisle.data.stale", "prefect.flow-run.Failed"}
    assert expected >= problems


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["name"]))
def test_what_an_alert_posts_is_json_whatever_the_event_says(alert: dict[str, Any]) -> None:
    (action,) = alert["actions"]
    said = {
        "event": SimpleNamespace(event=EVENT.event, occurred=datetime.now(UTC), payload=EVENT.as_dict()),
        "flow_run": SimpleNamespace(name="ingest demo", state=SimpleNamespace(message='no "file"\n')),
    }
    templates = jinja2.Environment(autoescape=True)
    templates.filters["ui_url"] = lambda run: f"http://127.0.0.1:4200/runs/flow-run/{run.name}"
    posted = json.loads(templates.from_string(action["payload"]).render(**said))
    assert {"event", "summary"} <= set(posted)
    if alert["trigger"]["expect"] == ["aisle.drift"]:
        assert {name: posted[name] for name in ("event", "catalog", "run_id", "summary", "facts")} == {
            name: value for name, value in EVENT.as_dict().items() if name != "time"
        }


def test_whatever_runs_every_night_is_retrained_when_its_own_monitoring_asks() -> None:
    nightly = {one["name"]: one for one in DEPLOYMENTS if one["entrypoint"] == "flows.nightly.nightly"}
    retrained = {one["name"]: one for one in DEPLOYMENTS if one["entrypoint"] == "flows.retrain.retrain"}
    assert set(retrained) == set(nightly)
    assert {one["parameters"]["catalog"] for one in retrained.values()} == {
        path.stem for path in registry.BUILTIN.glob("*.toml")
    }
    for name, one in retrained.items():
        catalog = one["parameters"]["catalog"]
        assert (catalog, one["work_pool"]) == (nightly[name]["parameters"]["catalog"], nightly[name]["work_pool"])
        assert one["tags"][:2] == nightly[name]["tags"][:2]
        (trigger,) = _initialize_deployment_triggers(name, one["triggers"])
        assert trigger.expect == {"aisle.retrain"}
        assert trigger.match.model_dump() == {"prefect.resource.id": f"aisle.catalog.{catalog}"}
        assert trigger.name == f"retrain {name}"
        related = trigger.match_related.model_dump()
        assert related == (
            {} if name == catalog else {"prefect.resource.role": "deployment", "prefect.resource.name": name}
        )
