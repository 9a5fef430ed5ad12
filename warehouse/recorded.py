"""What may be read: the table versions that a catalogue's last recorded run left."""

from __future__ import annotations

import json

from warehouse import tables
from warehouse.home import Home


def recorded(home: Home, catalog: str) -> dict[str, int]:
    """Table versions that the catalogue's last recorded run left: all that anybody may read."""
    path = home.table(catalog, "runs")
    at = tables.version(path)
    if at is None:
        return {}
    runs = tables.read(path, "runs", at)
    if runs.is_empty():
        return {}
    last = runs.sort("finished_at").row(-1, named=True)
    return {str(kind): int(version) for kind, version in json.loads(last["tables"]).items()}
