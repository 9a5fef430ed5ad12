"""Several workers on one socket: each serves about as many connections as another, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from api.sharing import Listener, Loop, Shares
from tests.api_server import PROJECT, Server, running, shared_home, wait_for

ANOTHER = """
import sys
from pathlib import Path
from api.sharing import Shares
shares = Shares(Path(sys.argv[1]))
for line in sys.stdin:
    shares.add(int(line))
    print(shares.is_ahead, flush=True)
"""
BUSY_S = 0.05
HEALTH = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"


class Another:
    """A worker in a process of its own, which serves as many connections as it is told."""

    def __init__(self, file: Path) -> None:
        command = [sys.executable, "-c", ANOTHER, str(file)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def add(self, connections: int) -> bool:
        """It has so many more; whether it is ahead then."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{connections}\n")
        return self.process.stdout.readline() == "True\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def another(file: Path) -> Iterator[Another]:
    worker = Another(file)
    try:
        worker.add(0)  # it has its place before the next one comes
        yield worker
    finally:
        worker.end()


def places(file: Path) -> list[tuple[int, int]]:
    """Process and connections of each worker that there was."""
    found = list(struct.iter_unpack("qq", file.read_bytes()))
    return [place for place in found if place[0]]


def test_a_worker_is_ahead_while_another_that_lives_has_fewer_connections(tmp_path: Path):
    file = tmp_path / "connections"
    with another(file) as first, another(file) as second:
        assert first.add(3)
        assert not second.add(1)
        assert second.add(3)
        assert not first.add(0)
        second.add(-2)
        assert first.add(0)
        second.end()
        assert not first.add(0)


def test_who_comes_takes_the_place_of_a_worker_that_has_died(tmp_path: Path):
    file = tmp_path / "connections"
    with another(file) as first, another(file) as second:
        first.add(5)
        second.add(1)
        first.end()
        with another(file) as third:
            third.add(2)
            assert places(file) == [(third.process.pid, 2), (second.process.pid, 1)]


def test_what_is_not_counted_is_never_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("api.sharing.MOST_WORKERS", 1)
    with another(tmp_path / "connections") as first:
        first.add(0)
        shares = Shares(tmp_path / "connections")
        shares.add(5)
        assert not shares.is_ahead
    assert places(tmp_path / "connections") == [(first.process.pid, 0)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_home(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def two_workers(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with two workers, and where they count."""
    folder = tmp_path_factory.mktemp("two-workers")
    start = "import os, sys; os.environ['TMPDIR'] = sys.argv[1]; from api.serve import run; "
    command = ["-c", start + "run('127.0.0.1', int(sys.argv[-1]), 2)", str(folder)]
    with running(shared, folder / "log", command=command) as server:
        [file] = folder.glob("aisle-workers-*/connections")
        wait_for(lambda: len(places(file)) == 2, 30, server.log)
        yield server, file


def served(connections: list[socket.socket]) -> int:
    """How many of them are answered."""
    for connection in connections:
        connection.sendall(HEALTH)
    return sum(_answer(connection).startswith(b"HTTP/1.1 200") for connection in connections)


def _answer(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"}"):
        part = connection.recv(4_096)
        assert part, f"closed after {found!r}"
        found += part
    return found


@contextmanager
def connected(server: Server, number: int) -> Iterator[list[socket.socket]]:
    """So many connections, asked for at the same moment by a client that keeps a core busy, as they do."""
    with ExitStack() as stack:
        asked = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in asked:
            one.setblocking(False)
        for one in asked:
            one.connect_ex(("127.0.0.1", server.port))
        until = time.perf_counter() + BUSY_S
        while time.perf_counter() < until:
            pass
        for one in asked:
            one.settimeout(10)
        yield asked


def test_connections_that_come_at_once_are_shared_by_the_workers(two_workers: tuple[Server, Path]):
    server, file = two_workers
    shares = []
    for _ in range(20):
        with connected(server, 8) as connections:
            assert served(connections) == 8
            shares.append(min(count for _, count in places(file)))
        wait_for(lambda: sum(count for _, count in places(file)) <= 1, 10, server.log)  # the client's own
    # Left to chance, all of them end with one worker, and mostly 0 is left for the other. A busy machine may be late.
    assert sum(share >= 2 for share in shares) >= 10, shares


def test_connections_of_one_request_each_are_served_and_leave_no_count(two_workers: tuple[Server, Path]):
    server, file = two_workers
    for _ in range(50):
        with connected(server, 2) as connections:
            assert served(connections) == 2
    wait_for(lambda: sum(count for _, count in places(file)) <= 1, 10, server.log)


def test_who_waits_for_another_worker_takes_the_next_as_soon_as_it_is_not_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else two workers whose connections end soon would sleep in turn, each ahead of the other for a moment."""
    monkeypatch.setattr("api.sharing.MOMENT_S", 3_600.0)
    with another(tmp_path / "connections") as other, socket.create_server(("127.0.0.1", 0)) as listening:
        shares = Shares(tmp_path / "connections")
        other.add(1)
        shares.add(2)

        async def take() -> None:
            taken = asyncio.Event()

            class Serving(asyncio.Protocol):
                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    taken.set()
                    transport.close()

            loop = asyncio.get_running_loop()
            listening.setblocking(False)
            server = Listener(loop, listening, Serving, shares)
            with socket.create_connection(listening.getsockname()):
                for _ in range(20):
                    await asyncio.sleep(0.01)
                assert not taken.is_set(), "it is ahead, and waits"
                shares.add(-1)
                await asyncio.wait_for(taken.wait(), 60)
            server.close()

        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(take())


def test_who_asks_for_another_protocol_is_counted_once(two_workers: tuple[Server, Path]):
    server, file = two_workers
    upgrade = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(upgrade)
            assert _answer(connection).startswith(b"HTTP/1.1 200")
    wait_for(lambda: sum(count for _, count in places(file)) <= 1, 10, server.log)


def test_nobody_waits_for_a_worker_that_takes_no_more(shared: Path, tmp_path: Path):
    start = "import os, sys; os.environ['TMPDIR'] = sys.argv[1]; from api.serve import run; "
    command = ["-c", start + "run('127.0.0.1', int(sys.argv[-1]), 2)", str(tmp_path)]
    with running(shared, tmp_path / "log", command=command) as server:
        [file] = tmp_path.glob("aisle-workers-*/connections")
        wait_for(lambda: len(places(file)) == 2, 30, server.log)
        server.process.send_signal(signal.SIGTTOU)  # one worker fewer
        wait_for(lambda: max(count for _, count in places(file)) > 1_000, 30, server.log)
        with connected(server, 4) as connections:
            assert served(connections) == 4


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of other processes can be set on Linux alone")
def test_where_there_is_no_room_for_a_connection_it_waits_until_there_is(two_workers: tuple[Server, Path]):
    server, file = two_workers
    workers = [pid for pid, _ in places(file)]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in workers}
    with connected(server, 4) as first:
        assert served(first) == 4
        for pid in workers:
            used = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir())
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 1, before[pid][1]))
        with connected(server, 12) as later:
            try:
                wait_for(lambda: "no connection can be taken" in server.log.read_text(), 10, server.log)
                assert served(first) == 4
            finally:
                for pid in workers:
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, before[pid])
            assert served(later) == 12
    assert "ulimit -n" in server.log.read_text()
