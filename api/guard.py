"""Who may ask, and how often: API keys, and a rate for each client."""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from functools import lru_cache
from time import monotonic

from fastapi import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from api.exchange import exchange_of
from api.problems import Refusal, response
from core.errors import UsageError
from core.settings import Settings

__all__ = ["LEAST_KEY_CHARS", "OPEN", "Guard", "configured_keys", "is_loopback"]

LEAST_KEY_CHARS = 16

OPEN = frozenset(
    {
        "/health",
        "/ready",
        "/v2/health/live",
        "/v2/health/ready",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/openapi.json",
    }
)
"""What anybody may ask: whether the service lives, and how to talk to it."""

_MOST_CLIENTS = 10_000
"""Clients whose rate is remembered; beyond, those that were quiet longest are forgotten."""


class Guard:
    """ASGI middleware that turns away who has no key, or asks too often.

    Args:
        app: what it guards.
        settings: keys and rate.

    Raises:
        UsageError: keys that cannot be used.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.open = settings.api_open
        self.keys = frozenset(_digest(key.encode()) for key in configured_keys(settings))
        self.rate = Rate(settings.api_rate_per_s) if settings.api_rate_per_s else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem document."""
        if scope["type"] == "http" and scope["path"] not in OPEN:
            try:
                self._spend(self._client(scope))
            except HTTPException as refusal:
                await response(refusal, scope)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _spend(self, client: str) -> None:
        if self.rate is not None:
            self.rate.spend(client)

    def _client(self, scope: Scope) -> str:
        """Who asks: the digest of a key, or an address where no key is needed."""
        if self.keys:
            given = _given_keys(scope)
            for digest in map(_digest, given):
                if digest in self.keys:  # digests are compared, so the time it takes tells nothing of a key
                    return digest
            self._spend(exchange_of(scope).client)  # guessing is no way to ask more often
            detail = "this key is not known" if given else "a key is needed"
            hint = "send one as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            raise Refusal(401, detail, hint=hint, headers={"WWW-Authenticate": "Bearer"})
        server = scope.get("server")
        if self.open or (server is not None and is_loopback(server[0])):
            return exchange_of(scope).client
        raise Refusal(
            401,
            "this service has no keys yet, and answers without one only on loopback",
            hint="whoever runs it sets AISLE_API_KEYS, or AISLE_API_OPEN=true to let everybody in",
            headers={"WWW-Authenticate": "Bearer"},
        )


class Rate:
    """A token bucket a client: as many requests a second as allowed, and a second's worth at once.

    Args:
        per_s: requests a second.
    """

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self.most = max(per_s, 1.0)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, client: str) -> None:
        """Count one request.

        Raises:
            Refusal: 429, too many.
        """
        now = monotonic()
        left, since = self._left.pop(client, (self.most, now))
        left = min(self.most, left + (now - since) * self.per_s)
        if left >= 1:
            self._left[client] = (left - 1, now)
            if len(self._left) > _MOST_CLIENTS:
                self._left.popitem(last=False)
            return
        self._left[client] = (left, now)
        wait = (1 - left) / self.per_s
        raise Refusal(
            429,
            f"more than {self.per_s:g} requests a second",
            hint="send more products in one request, or wait",
            headers={"Retry-After": str(max(1, round(wait)))},
        )


def configured_keys(settings: Settings) -> list[str]:
    """The keys that clients may use.

    Raises:
        UsageError: a key is too short to be one, or the file of keys cannot be read.
    """
    given = settings.api_keys.get_secret_value().split(",") if settings.api_keys is not None else []
    if settings.api_keys_file is not None:
        try:
            given += settings.api_keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot be read ({error})", where="AISLE_API_KEYS_FILE", hint="name a readable text file, a key a line"
            ) from None
        if not any(line.strip() for line in given):
            raise UsageError("holds no key", where="AISLE_API_KEYS_FILE", hint="write one key a line into it")
    keys = [key.strip() for key in given if key.strip()]
    if short := [key for key in keys if len(key) < LEAST_KEY_CHARS]:
        raise UsageError(
            f"{len(short)} of {len(keys)} API keys have fewer than {LEAST_KEY_CHARS} characters",
            where="AISLE_API_KEYS",
            hint="make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return keys


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _given_keys(scope: Scope) -> list[bytes]:
    """What may be a key: a gateway may add its own `Authorization` to a client's `X-API-Key`."""
    given = []
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            given.append(bytes(value).strip())
        if name == b"authorization" and bytes(value[:7]).lower() == b"bearer ":
            given.append(bytes(value[7:]).strip())
    return [key for key in given if key]


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()
