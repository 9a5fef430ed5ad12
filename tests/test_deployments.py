"""prefect.yaml: its deployments run, through a real server and a real worker."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from catalogs.demo import generate
from tests.prefect_server import Environment, ask, prefect, serving
from tests.test_packaging import copy_of_the_project

PROJECT = Path(__file__).resolve().parent.parent
ROWS = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Environment]:
    """The environment in which Prefect's client finds a server of this test's own."""
    with serving(tmp_path) as environment:
        yield environment


@pytest.mark.slow
def test_a_deployment_runs_to_its_end_wherever_the_worker_was_started(tmp_path: Path, server: Environment) -> None:
    project = copy_of_the_project(tmp_path)
    shutil.copy(PROJECT / "prefect.yaml", project)
    shutil.copytree(PROJECT / "deploy", project / "deploy")
    generate(project / "var" / "demo", ROWS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    for create in re.findall(
        r"^#   prefect (work-pool create .+?)(?:  .*)?$", (project / "prefect.yaml").read_text(), re.MULTILINE
    ):
        prefect(create, project, server)
    prefect("--no-prompt deploy --all", project, server)
    known = ask(server, "deployments/filter", {"limit": 200})
    written = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    assert sorted((one["entrypoint"], one["name"], one["work_pool_name"]) for one in known) == sorted(
        (one["entrypoint"], one["name"], one["work_pool"]["name"]) for one in written
    )
    assert {one["work_pool_name"] for one in known} == {"local", "compose", "docker", "kubernetes"}
    prefect("deployment run ingest/demo", elsewhere, server)
    told = prefect("worker start --pool local --run-once", elsewhere, server)

    runs = ask(server, "flow_runs/filter", {"sort": "START_TIME_ASC"})
    assert [run["state_name"] for run in runs if run["state_name"] != "Scheduled"] == ["Completed"], told
    assert not list(elsewhere.iterdir())
    with duckdb.connect(project / "var" / "warehouse.duckdb", read_only=True) as connection:
        (read,) = connection.execute("SELECT read FROM runs").fetchone() or (None,)
    assert read == ROWS
