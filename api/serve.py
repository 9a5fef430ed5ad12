"""Starting the server as it is meant to run: keys checked, logs as JSON, metrics over all workers, a clean end."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from api.guard import configured_keys, is_loopback
from core.errors import UsageError
from core.settings import Settings, get_settings

__all__ = ["GRACE_S", "answers_everybody", "require_keys", "run"]

APP = "api.api:app"

GRACE_S = 30
"""Seconds that requests get to be answered after the server was told to stop."""

KEEP_ALIVE_S = 75
"""Seconds an idle connection is kept: more than the 60 that common load balancers keep theirs, so they close first."""


def require_keys(host: str, settings: Settings) -> None:
    """Refuse to listen beyond this machine without keys.

    Raises:
        UsageError: there are no keys, and `host` is not loopback; or keys that cannot be used.
    """
    if configured_keys(settings) or settings.api_open or is_loopback(host):
        return
    raise UsageError(
        "needs API keys: others could reach this address",
        where=f"listening on {host}",
        hint="set AISLE_API_KEYS (make a key with: python -c 'import secrets; print(secrets.token_urlsafe(32))'), "
        "or AISLE_API_OPEN=true where something in front of it checks who asks",
    )


def answers_everybody(host: str, settings: Settings) -> bool:
    """Whether other machines may reach this address, and are answered without a key."""
    return settings.api_open and not configured_keys(settings) and not is_loopback(host)


def run(host: str, port: int, workers: int) -> None:
    """Serve until told to stop, then finish what was begun.

    Raises:
        UsageError: the address asks for keys, and there are none.
    """
    import uvicorn

    from api.logs import uvicorn_config
    from api.sharing import FILE, Workers

    settings = get_settings()
    require_keys(host, settings)
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "workers": workers,
        "ws": "none",
        "log_config": uvicorn_config(settings.log_level),
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": GRACE_S,
    }
    if workers == 1:
        uvicorn.run(APP, loop="uvloop", http="httptools", **options)
        return
    with tempfile.TemporaryDirectory(prefix="aisle-workers-") as folder:
        # Read by prometheus_client when a worker imports it: counts of all workers are summed there.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        os.environ[FILE] = str(Path(folder, "connections"))
        config = uvicorn.Config(APP, loop="api.sharing:Loop", http="api.sharing:Counted", **options)
        Workers(config, [config.bind_socket()]).run()
