"""What is known of one request while it is answered: for its log line, its metrics and the memory that it holds."""

from __future__ import annotations

import itertools
import re
import secrets
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

    from api.sending import Sending

__all__ = ["CLIENT_LEFT", "Exchange", "exchange_of"]

CLIENT_LEFT = 499
"""Status in logs and metrics, as nginx writes it, where the client closed the connection before it was answered."""

_KEY = "aisle.exchange"
# A request's name: its worker's, and its number there. Asking the system for chance each time would take longer.
_WORKER, _NUMBERS = secrets.token_hex(4), itertools.count(1)
# What clients may call their requests: it goes into logs and headers as it is.
_USABLE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        request_id: as the client named it in X-Request-ID, or a name of ours.
        client: the address that it came from.
        status: status that was sent; 0 before, 499 where the client left first.
        catalog: the catalogue that was asked.
        products: products that were answered.
        held_bytes: size of the body that is in memory for it.
        sending: the way of its answer to the client.
    """

    request_id: str
    client: str
    sending: Sending
    started: float = field(default_factory=perf_counter)
    status: int = 0
    catalog: str | None = None
    products: int = 0
    held_bytes: int = 0

    @classmethod
    def begin(cls, scope: Scope, sending: Sending) -> Exchange:
        """Begin to answer a request."""
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given.decode() if _USABLE_ID.fullmatch(given) else f"{_WORKER}{next(_NUMBERS):08x}"
        client = scope.get("client")
        scope[_KEY] = made = cls(request_id, client[0] if client else "", sending)
        return made


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that a request belongs to."""
    found: Exchange = scope[_KEY]
    return found
