"""Reading request bodies: bounded in size, time and memory, as strict JSON, with refusals that routes may rename."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from api.exchange import CLIENT_LEFT, Exchange, exchange_of
from api.problems import BodyRefusal, FieldProblem, Refusal, invalid, of_validation
from api.products import check_number
from core.settings import Settings

__all__ = ["HeldBytes", "JsonRequest", "content_type", "contract_route", "refuse_compressed", "size_parsed"]

_MIB = 1 << 20

# What Python takes for an empty list, an object of few keys, and one value more in either, with its place there.
_LIST_BYTES, _OBJECT_BYTES, _VALUE_BYTES = 64, 256, 64


class HeldBytes:
    """The bodies that this process holds at once, so that many large requests cannot take all memory."""

    def __init__(self, settings: Settings) -> None:
        self.most = settings.api_max_waiting_mib * _MIB
        self.now = 0

    def hold(self, exchange: Exchange, size: int) -> None:
        """Hold so many bytes for a request, in place of what was held for it.

        Raises:
            Refusal: 503, there is no room now.
        """
        more = size - exchange.held_bytes
        if more > 0 and self.now + more > self.most:
            raise Refusal(
                503,
                f"other requests fill the {self.most >> 20} MiB of bodies that this worker holds at once",
                hint="try again in a second, or run more workers",
                headers={"Retry-After": "1"},
            )
        self.now += more
        exchange.held_bytes = size


def size_parsed(body: bytes | bytearray) -> int:
    """About how many bytes JSON takes once it is parsed: `[[],[],[]]` takes twenty-four times what it took as text."""
    return (
        len(body) + _LIST_BYTES * body.count(b"[") + _OBJECT_BYTES * body.count(b"{") + _VALUE_BYTES * body.count(b",")
    )


class JsonRequest(Request):
    """A request whose body is read within the limits and parsed as strict JSON: UTF-8, no NaN, no deep nesting."""

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            BodyRefusal: too large, too slow, compressed, or not declared as JSON.
        """
        if not hasattr(self, "_body"):
            _refuse_other_types(self)
            self._body = await _read(self)
        return self._body

    async def json(self) -> Any:
        """The body, parsed.

        Raises:
            BodyRefusal: it is not JSON, or holds too many products.
        """
        if not hasattr(self, "_json"):
            self._json = body = parsed(await self.body())
            self._body = b""  # nobody needs both, and it may be large
            products = body.get("products") if isinstance(body, dict) else body
            if isinstance(products, list):
                # Before anything looks at each: nobody else is answered while a million of them are validated.
                check_number(len(products), self.app.state.service.settings)
        return self._json


def parsed(body: bytes) -> Any:
    """JSON as Python data.

    Raises:
        BodyRefusal: it is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"is not JSON: {error}" if body.strip() else "is empty; send JSON"
        raise invalid([FieldProblem(pointer="", detail=detail)]) from None


def content_type(request: Request) -> str:
    """The media type that the client declared, without parameters; empty where it declared none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def contract_route(status: int | None = None) -> type[APIRoute]:
    """A kind of route that reads its body within the limits.

    Args:
        status: what its outside contract says of every body that it cannot use; None: 408, 413, 415 or 422, as it is.
    """

    class ContractRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(JsonRequest(request.scope, request.receive))
                except RequestValidationError as error:
                    refusal = of_validation(error)
                except BodyRefusal as error:
                    refusal = error
                raise Refusal(
                    status or refusal.status_code,
                    refusal.detail,
                    hint=refusal.hint,
                    errors=refusal.errors,
                    headers=refusal.headers,
                    kind=refusal.kind,
                )

            return handle

    return ContractRoute


def _refuse_other_types(request: Request) -> None:
    declared = content_type(request)
    if declared and declared != "application/json" and not declared.endswith("+json"):
        raise BodyRefusal(415, f"the content type is {declared[:80]}", hint="send Content-Type: application/json")
    refuse_compressed(request)


def refuse_compressed(request: Request) -> None:
    """Refuse a body that is compressed.

    Raises:
        BodyRefusal: 415.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        # A small body that unpacks into a huge one is an old trick.
        raise BodyRefusal(415, f"the content encoding is {encoding[:80]}", hint="send the body uncompressed")


async def _read(request: Request) -> bytes:
    settings: Settings = request.app.state.service.settings
    most = settings.api_max_body_mib * _MIB
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(settings)
    held: HeldBytes = request.app.state.service.held
    exchange = exchange_of(request.scope)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.api_timeout_s):
            async for chunk in request.stream():
                held.hold(exchange, len(body) + len(chunk))
                body += chunk
                if len(body) > most:
                    raise _too_large(settings)
    except TimeoutError:
        raise BodyRefusal(408, f"the body had not arrived after {settings.api_timeout_s:g} seconds") from None
    except ClientDisconnect:
        raise Refusal(CLIENT_LEFT, "the client left before its body had arrived") from None
    size = size_parsed(body)
    if size > held.most:
        few = f"send at most {settings.api_max_products:,} products at a time, and of them what the catalogue reads"
        raise BodyRefusal(413, "the body holds too many values", hint=few)
    held.hold(exchange, size)
    return bytes(body)


def _too_large(settings: Settings) -> BodyRefusal:
    return BodyRefusal(
        413,
        f"the body is larger than {settings.api_max_body_mib} MiB",
        hint="send fewer products at a time, or stream them as application/x-ndjson to /v1/catalogs/{name}/predictions",
    )
