"""Servers: `aisle serve`, the API, and `aisle report ui`, Evidently's own."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from aisle.options import Json
from aisle.render import as_json, emit, flush, note


def serve(
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="ADDRESS", help="Address to listen on; by default AISLE_API_HOST, 127.0.0.1."),
    ] = None,
    port: Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes that answer.")] = 1,
    as_json_: Json = False,
) -> None:
    """Serve predictions over HTTP until stopped.

    The champions of all catalogues, and those that become champion meanwhile. An address that other machines can reach
    needs API keys: AISLE_API_KEYS. Ctrl-C or SIGTERM stops it after what it has begun.
    """
    from api.serve import answers_everybody, require_keys
    from api.serve import run as serve_api
    from core.settings import get_settings

    settings = get_settings()
    host = host or settings.api_host
    require_keys(host, settings)
    _require_free(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if as_json_:
        emit(as_json({"address": address, "docs": f"{address}/docs", "workers": workers}))
    else:
        if answers_everybody(host, settings):
            note("warning: whoever reaches this port is answered, as AISLE_API_OPEN says; AISLE_API_KEYS asks for keys")
        note(f"serving {address}, described at {address}/docs; Ctrl-C stops it")
    flush()  # before the server takes over: whoever started it may be reading
    # uvicorn raises the signal that ended it once more, when all is answered: being stopped like this is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve_api(host, port, workers)


def report_ui(
    port: Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port to listen on.")] = 8001,
    runs: Annotated[
        int, typer.Option("--runs", metavar="N", min=1, help="Runs shown of each catalogue, the newest.")
    ] = 100,
    as_json_: Json = False,
) -> None:
    """Serve Evidently's own UI over the drift reports of all runs, until stopped.

    On this machine alone, and only to look: nothing can be changed there. It shows what was recorded when it started.
    """
    from reports import workspace
    from warehouse.home import get_home
    from warehouse.mirror import fetch_reports
    from warehouse.recorded import recorded_runs

    _require_free(workspace.HOST, port)
    home = get_home()
    fetch_reports(home)
    recorded = {catalog: recorded_runs(home, catalog)["run_id"].to_list() for catalog in home.catalogs()}
    with tempfile.TemporaryDirectory(prefix="aisle-evidently-") as folder:
        shown, unusable = workspace.gather(Path(folder), home.reports, recorded, runs)
        for problem in unusable:
            note(f"not shown: {problem}")
        _require_any(shown, home.reports)
        address = f"http://{workspace.HOST}:{port}"
        if as_json_:
            emit(as_json({"address": address, "shown": shown, "unusable": unusable}))
        else:
            counted = ", ".join(f"{catalog} ({number})" for catalog, number in shown.items())
            note(f"serving {address} with the comparisons of {counted}; Ctrl-C stops it")
        flush()  # before the server takes over: whoever started it may be reading
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        workspace.serve(Path(folder), port)


def _require_any(shown: dict[str, int], where: Path) -> None:
    """Raise NothingPublished when there is nothing to show."""
    from core.errors import NothingPublished

    if not shown:
        raise NothingPublished(
            "no run has left a comparison for Evidently's UI yet",
            where=str(where),
            hint="aisle monitor CATALOG makes one, where there are enough products for a verdict on drift",
        )


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
