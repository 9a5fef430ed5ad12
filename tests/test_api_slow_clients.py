"""Clients that send or read slowly, or not at all: they get what they are promised, and cost the others nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.types import Message

from api.api import create_app
from api.exchange import Exchange
from api.ndjson import stream
from api.sending import PART_BYTES, Sending
from api.spool import IN_MEMORY, Spool
from core.settings import Settings
from tests.api_server import Server, running, shared_home

PATH = "/v1/catalogs/demo/predictions"
TIMEOUT_S = 2
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = shared_home(tmp_path_factory.getbasetemp())
    log = tmp_path_factory.mktemp("slow") / "log"
    with running(home, log, api_timeout_s=str(TIMEOUT_S)) as started:
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
        until = time.monotonic() + 2 * TIMEOUT_S
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


def test_a_line_without_an_end_is_given_up(server: Server):
    line = b'{"title": "oak shelf for the kitchen wall"}\n'
    with connection(server) as wire:
        wire.sendall(head("application/x-ndjson", "Transfer-Encoding: chunked") + chunk(line))
        wire.settimeout(TIMEOUT_S / 10)
        until = time.monotonic() + 5 * TIMEOUT_S
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n") and time.monotonic() < until:
            with suppress(OSError):
                wire.sendall(chunk(b"["))
            with suppress(TimeoutError):
                received += wire.recv(MIB)
    answered, refused = (json.loads(row) for row in received.split(b"\r\n") if row.startswith(b"{"))
    assert answered["line"] == 1
    assert refused["problem"]["status"] == 408
    assert refused["problem"]["detail"] == f"line 2 had not ended after {TIMEOUT_S} seconds"


def test_the_time_of_a_line_is_the_client_s_alone():
    timeout_s = 0.1
    service = create_app(Settings(api_timeout_s=timeout_s)).state.service
    coming = iter([b'{"title": "oak shelf"}\n{"title": "p', b"ine", b' shelf"}\n'])

    async def receive() -> Message:
        return {"type": "http.request", "body": (part := next(coming, b"")), "more_body": bool(part)}

    async def read_slowly() -> list[bytes]:
        request = Request({"type": "http", "method": "POST", "path": PATH, "headers": []}, receive)
        Exchange.begin(request.scope, Sending(discard, timeout_s))
        lines = []
        async for line in stream(request, service, None, reasons=True)._lines():
            lines.append(line.text)
            await asyncio.sleep(2 * timeout_s)  # as long as a server takes whose answers are not read
        return lines

    assert asyncio.run(read_slowly()) == [b'{"title": "oak shelf"}', b'{"title": "pine shelf"}']


async def discard(_: Message) -> None:
    pass


def test_an_answer_that_nobody_reads_is_given_up_and_makes_room(home: Path):
    app = create_app(Settings(api_timeout_s=0.2))
    held = app.state.service.held
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/categorize",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "server": ("127.0.0.1", 80),
    }
    most = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": b"[" + b" " * MIB + b"]"}

    async def send(_: Message) -> None:  # as a server does while the answer before was not read
        nonlocal most
        most = max(most, held.now)
        await asyncio.Event().wait()

    async def ask() -> None:
        async with asyncio.timeout(20):
            await app(scope, receive, send)

    asyncio.run(ask())
    assert most > MIB
    assert held.now == 0


def test_a_large_answer_goes_out_in_parts():
    answer, sent = bytes(range(256)) * 4_000, []

    async def send(message: Message) -> None:
        sent.append(message)

    async def answering() -> None:
        sending = Sending(send, 1)
        await sending({"type": "http.response.start", "status": 200})
        await sending({"type": "http.response.body", "body": answer})

    asyncio.run(answering())
    parts = sent[1:]
    assert b"".join(part["body"] for part in parts) == answer
    assert max(len(part["body"]) for part in parts) <= PART_BYTES
    assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]


def test_answers_that_wait_take_no_more_room_than_they_need():
    spool = Spool()
    before = Spool.all_bytes
    part = b"x" * MIB
    for _ in range(4):
        spool.write(part)
    for number in range(100):  # a client that is always a little behind
        spool.write(str(number).encode().rjust(MIB))
        assert len(spool.read(MIB)) == MIB
        assert spool.size <= 10 * MIB
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
