"""Large batches as a stream: one product a line in, one answer a line out, in bounded memory.

Answers may go out while products still come in, but many clients send everything before they read anything. Answers
that wait for such a client lie in a temporary file, so that neither side ever waits for the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.bodies import refuse_compressed, size_parsed
from api.champions import Champion
from api.exchange import exchange_of
from api.problems import FieldProblem, Refusal, document, invalid, pointer_to, response
from api.sending import PART_BYTES
from api.service import Service
from api.spool import Spool
from catalogs.asked import product_problems

__all__ = ["MEDIA_TYPES", "stream"]

MEDIA_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})

_MIB = 1 << 20
BATCH_LINES = 1_000
BATCH_BYTES = 2 * _MIB
HELD_BYTES = 4 * _MIB
"""What a stream counts for among the bodies held: a batch of lines, parsed. A line that takes more counts by itself."""

PAUSE_S = 0.02
"""A client that sends nothing for so long gets the answers to what it has sent."""


def stream(request: Request, service: Service, champion: Champion, *, reasons: bool) -> Response:
    """The response that answers a stream of products with a stream of answers.

    Raises:
        BodyRefusal: 415, it is compressed.
    """
    refuse_compressed(request)
    return _Stream(request, service, champion, reasons)


@dataclass(frozen=True)
class _Line:
    number: int
    text: bytes = b""
    refusal: HTTPException | None = None

    @property
    def size(self) -> int:
        return size_parsed(self.text)


class _Stream(Response):
    def __init__(self, request: Request, service: Service, champion: Champion, reasons: bool) -> None:
        super().__init__(media_type="application/x-ndjson")
        del self.headers["content-length"]
        self.request = request
        self.service = service
        self.champion = champion
        self.reasons = reasons
        self.timeout_s = service.settings.api_timeout_s
        self.exchange = exchange_of(request.scope)
        self.waited_s = 0.0
        """How long nothing was done but waiting for the client to send: what it has for a line counts this alone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.exchange.catalog = self.champion.record.catalog
        self._hold(HELD_BYTES)
        spool = Spool()
        producing = asyncio.create_task(self._produce(spool))
        producing.add_done_callback(lambda _: spool.changed.set())
        try:
            while not spool.ever and not producing.done():
                await spool.wait()
            if not spool.ever:
                producing.result()
                nothing = invalid([FieldProblem(pointer="", detail="holds no product")])
                await response(nothing, scope)(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(spool, producing, send)
        finally:
            producing.cancel()
            with suppress(asyncio.CancelledError, ClientDisconnect):
                await producing
            spool.close()

    async def _send(self, spool: Spool, producing: asyncio.Task[None], send: Send) -> None:
        while not (producing.done() and spool.empty):
            if spool.empty:
                await spool.wait()
                continue
            self.exchange.sending.put_off()
            await send({"type": "http.response.body", "body": spool.read(PART_BYTES), "more_body": True})
        producing.result()
        self.exchange.sending.put_off()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _produce(self, spool: Spool) -> None:
        """Read, answer and spool until the client has sent everything; what goes wrong becomes the last line."""
        try:
            async for lines in self._batches():
                spool.write(await self._answers(lines))
                self._hold(HELD_BYTES)
                self.exchange.sending.put_off()
                while spool.full:
                    await spool.wait()
        except TimeoutError:
            late = Refusal(408, f"no more of the body arrived for {self.timeout_s:g} seconds")
            spool.write(_problem_line(None, late))
        except HTTPException as refusal:
            spool.write(_problem_line(None, refusal))

    async def _batches(self) -> AsyncIterator[list[_Line]]:
        """Lines that hold something, as many at a time as are worth a prediction, or as have arrived."""
        lines: list[_Line] = []
        size = 0
        async for line in self._lines():
            if line is not None:
                lines.append(line)
                size += line.size
            if len(lines) >= BATCH_LINES or size >= BATCH_BYTES or (line is None and lines):
                yield lines
                lines, size = [], 0
        if lines:
            yield lines

    async def _lines(self) -> AsyncIterator[_Line | None]:
        """Every line that is not blank; None where the client pauses, perhaps to wait for what it has asked so far."""
        begun = bytearray()  # of the line that has not ended yet
        since = 0.0  # how long had been waited when it began
        number = 1
        skipping = False
        async for chunk in self._chunks():
            if chunk is None:
                yield None
                continue
            *ends, more = chunk.split(b"\n")
            if ends or not (begun or skipping):
                since = self.waited_s
            for end in ends:
                begun += end
                if begun.strip() and not skipping:
                    yield self._line(number, begun)
                begun.clear()
                number += 1
                skipping = False
            if self.waited_s - since > self.timeout_s:
                raise Refusal(408, f"line {number} had not ended after {self.timeout_s:g} seconds")
            if skipping:
                continue
            begun += more
            refusal = self._no_room(len(begun), len(begun))
            if refusal is not None:
                yield _Line(number, refusal=refusal)
                begun.clear()
                skipping = True
        if begun.strip():
            yield self._line(number, begun)

    def _line(self, number: int, text: bytearray) -> _Line:
        refusal = self._no_room(len(text), size_parsed(text))
        return _Line(number, bytes(text)) if refusal is None else _Line(number, refusal=refusal)

    def _no_room(self, length: int, size: int) -> HTTPException | None:
        """Why a line is not taken that is so long as text, and takes so many bytes; else they are held."""
        most = self.service.settings.api_max_body_mib
        if length > most * _MIB:
            return Refusal(413, f"the line is longer than {most} MiB")
        if size > self.service.held.most - HELD_BYTES:
            return Refusal(413, "the line holds too many values")
        try:
            if size > _MIB:
                self._hold(HELD_BYTES + size)
        except Refusal as refusal:
            return refusal
        return None

    def _hold(self, size: int) -> None:
        self.service.held.hold(self.exchange, size)

    async def _chunks(self) -> AsyncIterator[bytes | None]:
        """The body as it arrives; None where nothing more is there for the moment."""
        chunks = aiter(self.request.stream())
        while True:
            coming = asyncio.ensure_future(anext(chunks, b""))
            try:
                with self._waiting():
                    await asyncio.wait([coming], timeout=PAUSE_S)
                if not coming.done():
                    yield None
                with self._waiting():
                    async with asyncio.timeout(self.timeout_s):
                        chunk = await coming
            finally:
                coming.cancel()
            if chunk == b"":
                return
            # Whoever is still sending need not read yet.
            self.exchange.sending.put_off()
            yield chunk

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        started = perf_counter()
        try:
            yield
        finally:
            self.waited_s += perf_counter() - started

    async def _answers(self, lines: list[_Line]) -> bytes:
        """An answer for each line, in order."""
        products: list[dict[str, Any]] = []
        numbers: list[int] = []
        refused: dict[int, bytes] = {}
        for line in lines:
            problem = self._problem(line, products)
            if problem is None:
                numbers.append(line.number)
            else:
                refused[line.number] = _problem_line(line.number, problem)
        if not products:
            return b"".join(refused.values())
        answers = await self.service.predictor.answer(self.champion, products, reasons=self.reasons)
        self.exchange.products += len(products)
        answered = answers.json_lines(numbers)
        if not refused:
            return b"".join(answered)
        placed = dict(zip(numbers, answered, strict=True)) | refused
        return b"".join(placed[line.number] for line in lines)

    def _problem(self, line: _Line, products: list[dict[str, Any]]) -> HTTPException | None:
        """Why a line cannot be answered; otherwise its product joins the others."""
        settings = self.service.settings
        if line.refusal is not None:
            return line.refusal
        try:
            product = orjson.loads(line.text)
        except orjson.JSONDecodeError as error:
            return invalid([FieldProblem(pointer="", detail=f"is not JSON: {error}")])
        problems = product_problems(product, self.champion.spec, settings.api_max_text_chars)
        if problems:
            return invalid([FieldProblem(pointer=pointer_to(*steps), detail=detail) for steps, detail in problems])
        products.append(product)
        return None


def _problem_line(number: int | None, refusal: HTTPException) -> bytes:
    return orjson.dumps({"line": number, "problem": document(refusal)}) + b"\n"
