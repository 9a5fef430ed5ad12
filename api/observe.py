"""The outermost layer: every request gets an id, a log line, a place in the metrics, and an answer, come what may."""

from __future__ import annotations

import asyncio
from time import perf_counter

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import metrics
from api.bodies import HeldBytes
from api.exchange import CLIENT_LEFT, Exchange
from api.problems import Refusal, response
from api.sending import Sending

__all__ = ["Observed"]

log = structlog.get_logger("aisle.api")

_QUIET = frozenset({"/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Asked every few seconds by machines: logged only when they fail."""


class Observed:
    """ASGI middleware around everything else.

    Args:
        app: everything else.
        held: the bodies in memory.
        timeout_s: how long a client may take to read its answer.
    """

    def __init__(self, app: ASGIApp, held: HeldBytes, timeout_s: float) -> None:
        self.app = app
        self.held = held
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sending = Sending(send, self.timeout_s)
        exchange = Exchange.begin(scope, sending)
        header = (b"x-request-id", exchange.request_id.encode())

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await sending(message)

        metrics.IN_PROGRESS.inc()
        try:
            await self._answer(exchange, scope, receive, named)
        finally:
            metrics.IN_PROGRESS.dec()
            self.held.hold(exchange, 0)
            _note(exchange, scope)

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            exchange.status = CLIENT_LEFT
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic of a library is none of Exception
            log.exception("request failed", request_id=exchange.request_id, path=scope["path"])
            if exchange.status:
                raise  # half of an answer has gone out: only closing the connection tells the client
            hint = "try again; if it stays, send the request id to whoever runs this service"
            refusal = Refusal(500, "something went wrong that is not the request's fault", hint=hint)
            await response(refusal, scope)(scope, receive, send)


def _note(exchange: Exchange, scope: Scope) -> None:
    seconds = perf_counter() - exchange.started
    route = getattr(scope.get("route"), "path", None) or "none"
    status = exchange.status or CLIENT_LEFT
    metrics.requested(route, scope["method"], status, seconds)
    if status < 400 and scope["path"] in _QUIET:
        return
    write = log.info if status < 500 else log.error if status == 500 else log.warning
    write(
        "request",
        request_id=exchange.request_id,
        method=scope["method"],
        path=scope["path"],
        route=route,
        status=status,
        ms=round(seconds * 1e3, 2),
        catalog=exchange.catalog,
        products=exchange.products,
        client=exchange.client,
    )
