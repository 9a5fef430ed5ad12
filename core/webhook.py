"""One JSON object to the address that AISLE_WEBHOOK names. The address is a secret: many carry a token."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from core.settings import get_settings

if TYPE_CHECKING:
    import httpx

__all__ = ["ATTEMPTS", "post"]

TIMEOUT_S = 5.0
"""To connect, to send, and to wait for the answer's first line, each."""

ATTEMPTS = 3
WAITS_S = (1.0, 3.0)
"""Before the second and the third attempt: with all timeouts, a dead address holds a finished run under a minute."""

_MAY_PASS = frozenset({408, 425, 429})
"""Answers of 4xx that another attempt may not get."""

log = logging.getLogger("aisle.webhook")


def post(what: dict[str, Any]) -> None:
    """POST an object to AISLE_WEBHOOK, a few times if need be; nothing where it is not set.

    Any 2xx answer will do; redirects are not followed. What could not be delivered is logged, never raised, and never
    with the address.
    """
    secret = get_settings().webhook
    if secret is None:
        return
    body = json.dumps(what, ensure_ascii=False, default=str).encode()
    for attempt in range(ATTEMPTS):
        failure, may_pass = _attempt(secret.get_secret_value(), body)
        if failure is None:
            return
        if not may_pass or attempt + 1 == ATTEMPTS:
            log.warning(
                "not delivered to AISLE_WEBHOOK (%s, attempt %d): %s of %s, run %s: %s",
                *(failure, attempt + 1, what.get("event"), what.get("catalog"), what.get("run_id")),
                what.get("summary"),
            )
            return
        time.sleep(WAITS_S[attempt])


def _attempt(address: str, body: bytes) -> tuple[str | None, bool]:
    """What went wrong, None for nothing, and whether it may pass."""
    import httpx

    _keep_out_of_logs(address)
    headers = {"Content-Type": "application/json", "User-Agent": "aisle"}
    try:
        # The answer's body is left unread: nobody waits for one that has no end.
        with (
            httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream("POST", address, content=body, headers=headers) as answer,
        ):
            return _judge(answer)
    except httpx.TransportError as error:
        return type(error).__name__, True
    except Exception as error:  # noqa: BLE001 - an address that httpx cannot use; its message would hold the address
        return type(error).__name__, False


def _judge(answer: httpx.Response) -> tuple[str | None, bool]:
    if answer.is_success:
        return None, False
    return f"HTTP {answer.status_code}", answer.is_server_error or answer.status_code in _MAY_PASS


class _WithoutAddress(logging.Filter):
    """Drops what names one address, as it was given or as httpx writes it: the host in small letters, and so on."""

    def __init__(self, address: str) -> None:
        import httpx

        super().__init__()
        self.address = address
        self.written = {address, str(httpx.URL(address))}

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return not any(address in said for address in self.written)


def _keep_out_of_logs(address: str) -> None:
    """For httpx logs every request with its address, at level info."""
    logger = logging.getLogger("httpx")
    if not any(isinstance(known, _WithoutAddress) and known.address == address for known in logger.filters):
        logger.addFilter(_WithoutAddress(address))
