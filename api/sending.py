"""Giving an answer to its client in parts, and giving it up where the client does not take them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.requests import ClientDisconnect
from starlette.types import Message, Send

__all__ = ["Sending"]

PART_BYTES = 256 * 1024
"""A server takes whatever it is given, and waits for its client only before the next part: what a client does not read
lies here, where it is given up in time, and no more than a part of it in the connection, where it is not."""


class Sending:
    """ASGI's `send`, within a time from the beginning of the answer.

    Args:
        send: where messages go.
        timeout_s: seconds for the whole answer to be taken, or from one `put_off` to the next.
    """

    def __init__(self, send: Send, timeout_s: float) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self._until = 0.0
        self._waiting: asyncio.Timeout | None = None

    def put_off(self) -> None:
        """Let the time begin anew: of a stream, one side or the other has moved on."""
        self._until = asyncio.get_running_loop().time() + self._timeout_s
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self._until)

    async def __call__(self, message: Message) -> None:
        """Send a message.

        Raises:
            ClientDisconnect: its client did not take it in time.
        """
        if message["type"] == "http.response.start":
            self.put_off()
        try:
            async with asyncio.timeout_at(self._until) as self._waiting:
                for part in _parts(message):
                    await self._send(part)
        except TimeoutError:
            raise ClientDisconnect from None
        finally:
            self._waiting = None


def _parts(message: Message) -> Iterator[Message]:
    body = message.get("body", b"")
    last = max(0, (len(body) - 1) // PART_BYTES * PART_BYTES)
    for start in range(0, last, PART_BYTES):
        yield {**message, "body": body[start : start + PART_BYTES], "more_body": True}
    yield {**message, "body": body[last:]} if last else message
