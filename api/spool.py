"""Answers that wait for a client which sends before it reads: in memory while they are few, else in temporary files."""

from __future__ import annotations

import asyncio
import tempfile
from typing import ClassVar

__all__ = ["Spool"]

_MIB = 1 << 20

IN_MEMORY = _MIB
"""Bytes of a spool that wait in memory before they go to a file."""

MOST_BYTES = 1 << 30
"""Bytes that the spools of a worker take together; beyond, a stream takes no more products until its client reads."""


class Spool:
    """First in, first out. One file is read while the other is written, so both stay as small as what waits.

    Attributes:
        ever: whether anything was written.
        changed: set whenever something was written or read.
    """

    all_bytes: ClassVar[int] = 0

    def __init__(self) -> None:
        self.ever = False
        self.changed = asyncio.Event()
        self._reading = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._writing = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._read = self._to_read = self._written = 0

    @property
    def size(self) -> int:
        """What its files hold: what waits, and what was read of the file that is being read."""
        return self._to_read + self._written

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return self.size == 0

    @property
    def full(self) -> bool:
        """Whether its client has to read before more is written."""
        return Spool.all_bytes > MOST_BYTES and self.size > IN_MEMORY

    def write(self, data: bytes) -> None:
        """Put something last."""
        self._writing.write(data)
        self._written += len(data)
        Spool.all_bytes += len(data)
        self.ever = True
        self.changed.set()

    def read(self, most: int) -> bytes:
        """Take what comes first."""
        if not self._to_read:
            self._reading, self._writing = self._writing, self._reading
            self._to_read, self._written = self._written, 0
            self._reading.seek(0)
        data = self._reading.read(most)
        self._read += len(data)
        if self._read == self._to_read:
            Spool.all_bytes -= self._to_read
            self._read = self._to_read = 0
            self._reading.seek(0)
            self._reading.truncate()
        self.changed.set()
        return data

    async def wait(self) -> None:
        """Until something was written or read."""
        await self.changed.wait()
        self.changed.clear()

    def close(self) -> None:
        """Give its files back."""
        Spool.all_bytes -= self.size
        self._reading.close()
        self._writing.close()
