"""A server in a process of its own, wrk in another, on the same CORES cores; and what both and all others took of them.

Memory and processor time are read from /proc: elsewhere than on Linux they are not measured.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import CORES

__all__ = ["Load", "LoadFailed", "Served", "installed", "press", "serving"]

_SCRIPT = Path(__file__).with_name("load.lua")
_PROJECT = Path(__file__).resolve().parent.parent
_MOST_START_S = 120.0
_SAMPLE_S = 1.0
_LONGEST_WAIT_S = 60.0
_PROC = Path("/proc")


class LoadFailed(RuntimeError):
    """A server did not start, or did not answer everything."""


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        port: where it listens, on loopback.
        pid: of its first process.
        ready_s: from the start of the process to its first prediction.
    """

    port: int
    pid: int
    ready_s: float

    def resident_mib(self) -> float | None:
        """Memory that its processes hold at this moment."""
        kib = 0
        for pid in _tree(self.pid):
            try:
                lines = (_PROC / str(pid) / "status").read_text().splitlines()
            except OSError:
                continue
            kib += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return kib / 1024 if kib else None


@dataclass(frozen=True)
class Load:
    """What came of a load.

    Attributes:
        per_s: requests a second that were answered.
        p50_ms: median of their latency.
        p99_ms: its 99th percentile.
        others: share of the cores that neither the server nor wrk took, but other processes; None where not known.
        resident_mib: memory of the server, every second or so.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    others: float | None
    resident_mib: list[float] = field(default_factory=list)


def installed() -> bool:
    """Whether wrk is there."""
    return shutil.which("wrk") is not None


@contextmanager
def serving(command: Sequence[str], path: str, body: bytes, environment: Mapping[str, str]) -> Iterator[Served]:
    """A server, until the block ends.

    Args:
        command: arguments of this Python; the server's --port is added.
        path: where a prediction is asked for.
        body: what it is asked, to see when it is ready.
        environment: its AISLE_* and other variables, beside those of this process.

    Raises:
        LoadFailed: it ended, or was not ready in two minutes.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AISLE_", "PROMETHEUS_"))}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command, "--port", str(port)],
        cwd=_PROJECT,
        env={**kept, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_on_cores,
    )
    try:
        while not _predicts(port, path, body):
            if process.poll() is not None or time.perf_counter() - started > _MOST_START_S:
                raise LoadFailed(f"{' '.join(command)} answers nothing (exit code {process.poll()})")
            time.sleep(0.01)
        yield Served(port, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(timeout=60)


def press(served: Served, path: str, bodies: Path, seconds: float, connections: int) -> Load:
    """Ask as fast as answers come, on some connections, for some time.

    Args:
        served: who is asked.
        path: where.
        bodies: a file of JSON bodies, one a line, sent in turn.
        seconds: how long.
        connections: requests under way at once.

    Raises:
        LoadFailed: not every request was answered with a 2xx.
    """
    cpu, all_cpu, own = _cpu(served.pid), _busy(), os.times()
    wrk = subprocess.Popen(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "30s"),
            *("-s", str(_SCRIPT), f"http://127.0.0.1:{served.port}{path}"),
        ],
        env={**os.environ, "BODIES": str(bodies)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_on_cores,
    )
    resident: list[float] = []
    while True:
        try:
            said, _ = wrk.communicate(timeout=_SAMPLE_S)
            break
        except subprocess.TimeoutExpired:
            resident += filter(None, [served.resident_mib()])
    if wrk.returncode or "RESULT" not in said:
        raise LoadFailed(f"wrk ended with {wrk.returncode}: {said[-500:]}")
    found = json.loads(said.rpartition("RESULT")[2])
    if not found["requests"] and seconds < _LONGEST_WAIT_S:
        return press(served, path, bodies, seconds * 4, connections)  # slower than the load was long
    if found["refused"] or found["broken"] or not found["requests"]:
        raise LoadFailed(f"of {found['requests']} requests to {path} not all were answered: {found}")
    now = os.times()
    ours = _cpu(served.pid) - cpu + now.children_user + now.children_system - own.children_user - own.children_system
    busy = _busy()
    others = None
    if busy is not None and all_cpu is not None:
        others = max(busy - all_cpu - ours, 0.0) / (found["seconds"] * (os.cpu_count() or 1))
    return Load(found["requests"] / found["seconds"], found["p50_ms"], found["p99_ms"], others, resident)


def _on_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def _predicts(port: int, path: str, body: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _cpu(pid: int) -> float:
    """Processor seconds of a process and all below it."""
    ticks = 0
    for one in _tree(pid):
        try:
            fields = (_PROC / str(one) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, counted behind the command's name
    return ticks / os.sysconf("SC_CLK_TCK")


def _busy() -> float | None:
    """Processor seconds of everybody, what the machine below takes included; not idle, and not waiting for disks."""
    try:
        fields = (_PROC / "stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return None
    ticks = [int(ticks) for ticks in fields[:8]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
