"""`aisle maintain`: is everything whole, and small and old files tidied away."""

from __future__ import annotations

import typer

from aisle import running, summary
from aisle.commands.catalogues import require
from aisle.options import Json, MaybeCatalog, Prefect
from aisle.render import as_json, emit

DAMAGED = 1
"""Exit code when something is not as it was written."""


def maintain(catalog: MaybeCatalog = None, as_json_: Json = False, prefect: Prefect = False) -> None:
    """Check everything that is stored, and tidy it.

    Every row of every table is read, and every file of every model compared with its digest; exit code 1 when one is
    damaged. Where nothing is, small files are written together, and those are deleted that neither a run of the last
    AISLE_RETENTION_DAYS days needs nor anybody who opened the warehouse since.
    """
    if catalog is not None:
        require(catalog)
    running.prepare()
    from flows.maintain import maintain as flow
    from warehouse.home import get_home

    names = get_home().check().catalogs() if catalog is None else [catalog]
    results = [running.run(flow, name, what=f"maintain {name}", with_prefect=prefect) for name in names]
    if as_json_:
        emit(as_json([result.as_dict() for result in results]))
    else:
        emit("\n".join(summary.maintained(result) for result in results) or "nothing is stored yet")
    if any(result.damage for result in results):
        raise typer.Exit(DAMAGED)
