"""MLflow is told of trainings and trials when MLFLOW_TRACKING_URI is set; when it cannot be told, the run goes on."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from catalogs import demo
from flows.ingest import ingest
from flows.train import train
from flows.tune import tune
from tasks import tracking
from tests.conftest import PROJECT
from warehouse.home import get_home
from warehouse.query import query

NOTHING = tracking.Tracked(name="x", params={}, metrics={}, tags={})


@pytest.fixture
def labelled(home: Path, tmp_path: Path) -> None:
    ingest.fn("demo", [str(demo.generate(tmp_path / "source", rows=1_500, seed=1, day=0))])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in a file; what is logged as files lands in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def runs_of(store: str, catalog: str) -> list[Run]:
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(f"aisle/{catalog}")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_training_is_logged_with_parameters_metrics_data_and_card(labelled: None, store: str) -> None:
    result = train.fn("demo", recipe="linear-fast", overrides={"model.C": "2"})
    (logged,) = runs_of(store, "demo")
    assert logged.info.status == "FINISHED"
    assert logged.info.run_name == "demo v1"
    assert logged.data.params["model.C"] == "2.0"
    assert logged.data.metrics["accuracy"] == result.metrics["accuracy"]
    assert logged.data.metrics["rows"] == result.rows
    tags = {name.removeprefix("aisle."): value for name, value in logged.data.tags.items()}
    (model,) = query(get_home(), "SELECT data_digest, model_digest, run_id FROM models").as_dicts()
    assert tags.items() >= {**model, "catalog": "demo", "version": "v1", "promoted": "true"}.items()
    card = MlflowClient(tracking_uri=store).download_artifacts(logged.info.run_id, "card.md")
    assert Path(card).read_text() == (get_home().models("demo") / "v1" / "card.md").read_text()


def test_every_trial_is_logged(labelled: None, store: str) -> None:
    found = tune.fn("demo", recipe="linear-fast", trials=2)
    logged = runs_of(store, "demo")
    assert {run.data.tags["aisle.kind"] for run in logged} == {"trial"}
    assert {run.data.tags["aisle.run_id"] for run in logged} == {found.run_id}
    assert {run.data.tags["aisle.data_digest"] for run in logged} == {found.data_digest}
    assert sorted(run.data.metrics["accuracy"] for run in logged) == sorted(t["accuracy"] for t in found.trials)
    assert all(run.info.end_time >= run.info.start_time for run in logged)


def test_what_the_store_refuses_ends_as_failed_and_stops_no_other(store: str, caplog: pytest.LogCaptureFixture) -> None:
    refused = tracking.Tracked(name="refused", params={}, metrics={"no: such? name": 1.0}, tags={})
    with caplog.at_level(logging.WARNING, logger="aisle"):
        tracking.track("demo", [refused, NOTHING, refused, NOTHING])
    assert sorted((run.info.run_name, run.info.status) for run in runs_of(store, "demo")) == [
        ("refused", "FAILED"),
        ("refused", "FAILED"),
        ("x", "FINISHED"),
        ("x", "FINISHED"),
    ]
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "aisle.tracking"]
    assert "no: such? name" in warning


def test_a_server_that_is_gone_is_told_once_and_the_run_goes_on(
    labelled: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
    with caplog.at_level(logging.WARNING, logger="aisle"):
        found = tune.fn("demo", recipe="linear-fast", trials=2)
    assert len(found.trials) == 3  # two points of the space, and the recipe as it stands
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "aisle.tracking"]
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1" in warning
    assert "secret" not in warning
    assert query(get_home(), "SELECT count(*) FROM trials").rows == [(3,)]


def test_without_the_client_the_run_goes_on(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tracking.track("demo", [NOTHING, NOTHING])
    (record,) = caplog.records
    assert "pip install 'aisle[mlflow]'" in record.getMessage()


def test_without_the_variable_mlflow_is_not_even_imported() -> None:
    code = (
        "import sys; from tasks import tracking; "
        "tracking.track('demo', [tracking.Tracked('x', {}, {}, {})]); print('mlflow' in sys.modules)"
    )
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
