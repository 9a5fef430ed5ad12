"""`aisle serve`: the API."""

from __future__ import annotations

import signal
import socket
import sys
from typing import Annotated

import typer

from aisle.options import Json
from aisle.render import as_json, emit, flush, note


def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes that answer.")] = 1,
    as_json_: Json = False,
) -> None:
    """Serve predictions over HTTP until stopped.

    The champions of all catalogues, and those that become champion meanwhile. An address that other machines can reach
    needs API keys: AISLE_API_KEYS. Ctrl-C or SIGTERM stops it after what it has begun.
    """
    from api.serve import require_keys
    from api.serve import run as serve_api
    from core.settings import get_settings

    require_keys(host, get_settings())
    _require_free(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if as_json_:
        emit(as_json({"address": address, "docs": f"{address}/docs", "workers": workers}))
    else:
        note(f"serving {address}, described at {address}/docs; Ctrl-C stops it")
    flush()  # before the server takes over: whoever started it may be reading
    # uvicorn raises the signal that ended it once more, when all is answered: being stopped like this is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve_api(host, port, workers)


def _require_free(host: str, port: int) -> None:
    """Say so by name when the address cannot be listened on; uvicorn's workers would only die.

    Raises:
        UsageError: it is taken, or is not of this machine.
    """
    from core.errors import UsageError

    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen there: {error.strerror}",
            where=f"{host}:{port}",
            hint="choose another address with --host, another port with --port",
        ) from error
