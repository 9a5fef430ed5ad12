"""prefect.yaml: its deployments run, through a real server and a real worker."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import httpx
import pytest
import yaml

from catalogs.demo import generate
from tests.test_packaging import copy_of_the_project

PROJECT = Path(__file__).resolve().parent.parent
PREFECT = f"{sys.executable} -m prefect"
PATIENCE_S = 180.0
ROWS = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which Prefect's client finds a server of this test's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AISLE_", "PREFECT_"))}
    environment |= {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("wb") as log:
        running = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(f"{environment['PREFECT_API_URL']}/health", running)
        yield environment
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@pytest.mark.slow
def test_a_deployment_runs_to_its_end_wherever_the_worker_was_started(tmp_path: Path, server: dict[str, str]) -> None:
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
    known = httpx.post(f"{server['PREFECT_API_URL']}/deployments/filter", json={"limit": 200}).json()
    written = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    assert sorted((one["entrypoint"], one["name"], one["work_pool_name"]) for one in known) == sorted(
        (one["entrypoint"], one["name"], one["work_pool"]["name"]) for one in written
    )
    assert {one["work_pool_name"] for one in known} == {"local", "compose", "docker", "kubernetes"}
    prefect("deployment run ingest/demo", elsewhere, server)
    told = prefect("worker start --pool local --run-once", elsewhere, server)

    runs = httpx.post(f"{server['PREFECT_API_URL']}/flow_runs/filter", json={"sort": "START_TIME_ASC"}).json()
    assert [run["state_name"] for run in runs if run["state_name"] != "Scheduled"] == ["Completed"], told
    assert not list(elsewhere.iterdir())
    with duckdb.connect(project / "var" / "warehouse.duckdb", read_only=True) as connection:
        (read,) = connection.execute("SELECT read FROM runs").fetchone() or (None,)
    assert read == ROWS


def prefect(words: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command prints, called as people do: by a shell, in a folder."""
    command = ["sh", "-c", f"cd '{folder}' && exec {PREFECT} {words}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def wait_for(address: str, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        assert running.poll() is None, "the server has ended"
        try:
            if httpx.get(address, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"nothing answers at {address}")
