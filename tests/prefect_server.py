"""A real Prefect server on loopback, and real workers, for tests of what runs there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

PATIENCE_S = 300.0

Environment = dict[str, str]


@contextmanager
def serving(folder: Path) -> Iterator[Environment]:
    """A server that keeps its data in a folder; gives the environment in which Prefect's client finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AISLE_", "PREFECT_"))}
    environment |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, folder / "server.log", folder, environment) as server:
        wait_for(f"{environment['PREFECT_API_URL']}/health", server)
        yield environment


@contextmanager
def running(command: list[str], log: Path, folder: Path, environment: Environment) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told to end, and made to if it does not."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def prefect(words: str, folder: Path, environment: Environment) -> str:
    """What a command prints, called as people do: by a shell, in a folder."""
    command = ["sh", "-c", f"cd '{folder}' && exec {sys.executable} -m prefect {words}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def ask(environment: Environment, route: str, body: Any) -> Any:
    """What the server answers to a POST."""
    answer = httpx.post(f"{environment['PREFECT_API_URL']}/{route}", json=body, timeout=30)
    assert answer.is_success, answer.text
    return answer.json()


def until(what: str, found: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first answer of `found` that is something."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.5)
    pytest.fail(f"waited for nothing: {what}")


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""

    def answers() -> bool:
        assert server.poll() is None, "the server has ended"
        try:
            return httpx.get(address, timeout=5).is_success
        except httpx.TransportError:
            return False

    until(f"an answer at {address}", answers)
