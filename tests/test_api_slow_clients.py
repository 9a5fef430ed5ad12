"""Clients that send or read slowly, or not at all: they get what they are promised, and cost the others nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import orjson
import pytest

from api.spool import IN_MEMORY, Spool
from tests.api_server import Server, running, shared_home, wait_for

PATH = "/v1/catalogs/demo/predictions"
TIMEOUT_S = 1
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = shared_home(tmp_path_factory.getbasetemp())
    limits = {"api_timeout_s": str(TIMEOUT_S), "api_max_waiting_mib": "24"}
    with running(home, tmp_path_factory.mktemp("slow") / "log", log_level="info", **limits) as started:
        yield started


@contextmanager
def connection(server: Server) -> Iterator[socket.socket]:
    """A connection on which little of an answer fits that is not read."""
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        wire.settimeout(60)
        wire.connect(("127.0.0.1", server.port))
        yield wire


def head(kind: str, rest: str) -> bytes:
    return f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n{rest}\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_whoever_is_still_sending_need_not_read_yet(server: Server):
    line = b'{"title": "oak shelf for the kitchen wall"}\n'
    with connection(server) as wire:
        wire.sendall(head("application/x-ndjson", "Transfer-Encoding: chunked") + chunk(line * 20_000))
        # Far more answers wait by now than the connection takes; and for longer than a client may pause.
        until = time.monotonic() + 4 * TIMEOUT_S
        trickled = 0
        while time.monotonic() < until:
            wire.sendall(chunk(line))
            trickled += 1
            time.sleep(TIMEOUT_S / 10)
        wire.sendall(b"0\r\n\r\n")
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n"):
            more = wire.recv(MIB)
            assert more, f"cut after {len(received):,} bytes"
            received += more
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b'"predicted_path"') == 20_000 + trickled


def test_an_answer_that_nobody_reads_is_given_up_and_makes_room(server: Server):
    body = b" " * 11 * MIB + orjson.dumps([{"title": "oak shelf for the kitchen wall"}] * 5_000)
    request = head("application/json", f"Content-Length: {len(body)}") + body

    def insist(wire: socket.socket) -> None:
        with suppress(OSError):
            wire.sendall(request * 3)

    def status() -> int:
        return server.client.post(PATH, content=b" " * 10 * MIB + b'[{"title": "oak"}]').status_code

    with connection(server) as one, connection(server) as other:
        for wire in (one, other):
            threading.Thread(target=insist, args=[wire], daemon=True).start()
        wait_for(lambda: status() == 503, 20)
        time.sleep(4 * TIMEOUT_S)
        wait_for(lambda: status() == 200, 4 * TIMEOUT_S)


def test_answers_that_wait_take_no_more_room_than_they_need():
    spool = Spool()
    before = Spool.all_bytes
    part = b"x" * MIB
    for _ in range(4):
        spool.write(part)
    for number in range(100):  # a client that is always a little behind
        spool.write(str(number).encode().rjust(MIB))
        assert len(spool.read(MIB)) == MIB
        assert spool.bytes <= 10 * MIB
    rest = b"".join(iter(lambda: b"" if spool.empty else spool.read(MIB), b""))
    assert [int(rest[start : start + MIB]) for start in range(0, 4 * MIB, MIB)] == [96, 97, 98, 99]
    assert Spool.all_bytes == before
    spool.close()


def test_a_stream_waits_for_its_client_once_too_much_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("api.spool.MOST_BYTES", 4 * MIB)
    stalled, other = Spool(), Spool()
    stalled.write(b"x" * 5 * MIB)
    other.write(b"x")
    assert stalled.full
    assert not other.full  # it need not wait for the client of the other one
    stalled.read(5 * MIB)
    assert not stalled.full
    other.write(b"x" * (IN_MEMORY + 4 * MIB))
    assert other.full
    for spool in (stalled, other):
        spool.close()
    assert Spool.all_bytes == 0
