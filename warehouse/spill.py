"""DuckDB for those who read: in memory, an instance of its own, which spills to a folder of its own.

What DuckDB spills has the same names in every process. Two that share a folder overwrite each other's: they crash, or
answer wrongly.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import duckdb

from core.settings import get_settings
from warehouse.home import Home
from warehouse.statements import quoted

__all__ = ["reader", "sweep"]

DAY_S = 24 * 3_600

_SPILLED = ".query-*.tmp"

_NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def reader(home: Home) -> duckdb.DuckDBPyConnection:
    """A connection in memory, within AISLE_MEMORY_LIMIT. What it spills is gone when it is closed."""
    connection = duckdb.connect(config=_NO_EXTENSIONS)
    connection.execute(f"SET memory_limit = {quoted(get_settings().memory_limit)}")
    connection.execute(f"SET temp_directory = {quoted(str(_folder(home)))}")
    return connection


def _folder(home: Home) -> Path:
    # The home's own disk has room for tables; where a home may only be read, there is the system's.
    place = home.root if os.access(home.root, os.W_OK) else Path(tempfile.gettempdir())
    return place / _SPILLED.replace("*", secrets.token_hex(8))


def sweep(home: Home) -> None:
    """Delete what readers that were killed have spilled, a day later."""
    for left in home.root.glob(_SPILLED):
        times = [path.stat().st_mtime for path in (left, *left.glob("*")) if path.exists()]
        if times and max(times) < time.time() - DAY_S:
            shutil.rmtree(left, ignore_errors=True)
