"""Connections shared evenly among workers that listen on one socket.

The system wakes every worker for a new connection, and the first to come has it: mostly the one that is awake already,
so that a handful of connections which live long may all end with one worker, and the other cores do nothing. Here a
worker that has more connections than another leaves that one a moment to take the next.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import mmap
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog
import uvloop
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors.multiprocess import Multiprocess

__all__ = ["FILE", "Counted", "Listener", "Loop", "Shares", "Workers"]

FILE = "_AISLE_CONNECTIONS"
"""Environment variable by which `serve` tells its workers where they count."""

MOMENT_S = 0.005
"""What a worker leaves the others to take a connection before it does: they may be busy, or hang."""
PAUSE_S = 1.0
"""How long nothing is taken where the system has no room for another connection."""
MOST_WORKERS = 1024

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_STOPPED = 1 << 40
"""Connections of a worker that takes no more: nobody has more than it, and waits for it."""

log = structlog.get_logger("aisle.api")


class Shares:
    """How many connections each worker has, in a file that all of them map.

    Args:
        file: the file; the first to come makes it.

    Attributes:
        when_fewer: called when this worker has fewer than before.
    """

    def __init__(self, file: Path) -> None:
        with file.open("a+b") as opened, _held(opened.fileno()):
            opened.truncate(16 * MOST_WORKERS)
            # Two numbers for each: its process, 0 from the first free place on, and its connections.
            self._cells = memoryview(mmap.mmap(opened.fileno(), 16 * MOST_WORKERS)).cast("q")
            places = range(0, len(self._cells), 2)
            self.when_fewer: Callable[[], None] | None = None
            self._own = next((at for at in places if not _lives(self._cells[at])), None)
            if self._own is not None:
                self._cells[self._own], self._cells[self._own + 1] = os.getpid(), 0

    def add(self, connections: int) -> None:
        """Note that this worker has so many more, or fewer."""
        if self._own is not None:
            self._cells[self._own + 1] += connections
        if connections < 0 and self.when_fewer is not None:
            self.when_fewer()

    @property
    def is_ahead(self) -> bool:
        """Whether this worker has more than another one."""
        if self._own is None:
            return False
        own = self._cells[self._own + 1]
        return any(connections < own and _lives(pid) for pid, connections in self._workers())

    def _workers(self) -> Iterator[tuple[int, int]]:
        for at in range(0, len(self._cells), 2):
            if not self._cells[at]:
                return
            yield self._cells[at], self._cells[at + 1]


class Listener:
    """Takes connections from a socket that other workers listen on as well: what uvicorn asks of a server.

    Args:
        loop: that of this worker.
        listening: the socket.
        protocol: makes what serves a connection; it tells `shares` of the connection's end.
        shares: what each worker has.
    """

    def __init__(
        self, loop: uvloop.Loop, listening: socket.socket, protocol: Callable[[], asyncio.Protocol], shares: Shares
    ) -> None:
        self._loop = loop
        self._socket = listening
        self._protocol = protocol
        self._shares = shares
        self._waiting: asyncio.TimerHandle | None = None
        self._taken: set[asyncio.Task[None]] = set()
        shares.when_fewer = self._look_again
        loop.add_reader(listening, self._asked)

    def close(self) -> None:
        """Take nothing more."""
        self._shares.add(_STOPPED)
        self._shares.when_fewer = None
        if self._waiting is not None:
            self._waiting.cancel()
        self._loop.remove_reader(self._socket)

    async def wait_closed(self) -> None:
        """Nothing is left to be done."""

    def _asked(self) -> None:
        if self._shares.is_ahead:
            self._wait(MOMENT_S)
        else:
            self._take()

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._socket)
        self._waiting = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._socket, self._asked)
        self._take()

    def _look_again(self) -> None:
        """Of connections that end soon, workers that are ahead in turn would all wait, and nobody take the next."""
        if self._waiting is not None and not self._shares.is_ahead:
            self._waiting.cancel()
            self._go_on()

    def _take(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                hint = "raise the limit of open files (ulimit -n)"
                log.error("no connection can be taken", problem=str(error), hint=hint)
                self._wait(PAUSE_S)
            return  # else another worker has it, or its client has left
        connection.setblocking(False)
        self._shares.add(1)
        task = self._loop.create_task(self._serve(connection))
        self._taken.add(task)
        task.add_done_callback(self._taken.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # its client has left
            self._shares.add(-1)
            connection.close()


class Counted(HttpToolsProtocol):
    """uvicorn's protocol, which tells of the end of its connection."""

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        _shares().add(-1)
        super().connection_lost(exc)


class Loop(uvloop.Loop):
    """uvloop, where what is to listen on a socket that is there already shares it."""

    @override
    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        listening = options.get("sock")
        if listening is None:
            return await super().create_server(protocol_factory, *args, **options)
        listening.setblocking(False)
        listening.listen(options.get("backlog", 100))
        return Listener(self, listening, protocol_factory, _shares())


class Workers(Multiprocess):
    """uvicorn's parent of workers; once it is told to stop, nobody listens any more, as with one worker."""

    @override
    def terminate_all(self) -> None:
        super().terminate_all()
        for listening in self.sockets:  # else the system would take connections that no worker ever sees
            listening.close()


@contextmanager
def _held(descriptor: int) -> Iterator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing the file does not: what is mapped keeps it open


@lru_cache
def _shares() -> Shares:
    return Shares(Path(os.environ[FILE]))


def _lives(pid: int) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, and there
        return True
    return True
