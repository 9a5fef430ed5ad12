"""Reading what runs left: sql, report, publish."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from aisle.commands.catalogues import require
from aisle.options import Json, MaybeCatalog
from aisle.render import as_json, as_json_lines, emit, facts, note, table
from aisle.summary import DATA_DOCS, ONLINE

MOST_ROWS = 200
"""Rows of a table that a terminal still serves; JSON has them all."""


def sql(
    statement: Annotated[
        str,
        typer.Argument(metavar="SQL", help="One statement that only reads; - reads it from stdin.", show_default=False),
    ],
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Rows shown at most.")] = MOST_ROWS,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="Read the warehouse as it was: at the end of a date, or at a time; UTC.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN_ID", help="Read the warehouse as this run left it.", show_default=False),
    ] = None,
    as_json_: Json = False,
) -> None:
    """Ask the warehouse with SQL.

    SELECT, and EXPLAIN, DESCRIBE, SUMMARIZE and SHOW; nothing that writes. docs/warehouse.md describes every view and
    column. --json has all rows.
    """
    from warehouse.home import get_home
    from warehouse.query import query

    then = _then(as_of, run)
    answer = query(get_home(), sys.stdin.read() if statement == "-" else statement, then)
    if as_json_:
        emit(as_json_lines(answer.as_dicts()))
        return
    emit(table(answer.columns, answer.rows[:rows]))
    left = len(answer.rows) - rows
    if left > 0:
        note(f"{left:,} more rows of {len(answer.rows):,}: show more with --rows, or all with --json")


def _then(as_of: str | None, run: str | None) -> datetime | None:
    """The time that is asked for, if any.

    Raises:
        UsageError: two were given, or one that is none.
        UnknownRun: there is no such run.
    """
    from core.errors import UsageError
    from warehouse.home import get_home
    from warehouse.past import end_of_run, moment

    if as_of is not None and run is not None:
        raise UsageError("both --as-of and --run were given", hint="give one of them")
    if run is not None:
        return end_of_run(get_home(), run)
    return None if as_of is None else moment(as_of, "--as-of")


def report(
    catalog: MaybeCatalog = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN_ID", help="Only the pages of this run.", show_default=False),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the index in a browser.")] = False,
    as_json_: Json = False,
) -> None:
    """Print where the HTML reports lie.

    The index links all of them; the pages listed are the latest of each kind.
    """
    from warehouse.home import get_home

    home = get_home()
    if home.address is not None:
        from warehouse.mirror import fetch_reports

        fetch_reports(home)
    if home.reports.is_dir() and os.access(home.reports, os.W_OK):
        from reports.index import write

        write(home.reports)  # runs since the last monitoring have left pages too
    if catalog is not None and catalog not in {path.name for path in home.reports.glob("*")}:
        require(catalog)
    found = _reports(home.reports, catalog, run)
    index = home.reports / "index.html"
    if as_json_:
        emit(as_json({"index": str(index), "reports": found}))
    else:
        emit(facts([("index", str(index)), *((_named(page), page["path"]) for page in found)], indent=0))
    if open_:
        typer.launch(index.as_uri())


def publish(
    s3: Annotated[
        bool,
        typer.Option("--s3", help="Also write warehouse-s3.sql: the same views over the files in the bucket."),
    ] = False,
    as_json_: Json = False,
) -> None:
    """Rebuild warehouse.duckdb from the tables.

    Every run does it by itself. It is needed after AISLE_HOME was moved or restored.
    """
    from warehouse.home import get_home
    from warehouse.publish import publish as publish_home
    from warehouse.s3_views import write_s3_views

    home = get_home()
    published = publish_home(home)
    script = {"s3_views": str(write_s3_views(home))} if s3 else {}
    if as_json_:
        emit(as_json({"path": str(published.path), "catalogs": published.catalogs, "views": published.views, **script}))
        return
    if s3:
        emit(f"wrote {script['s3_views']}")
    emit(f"published {published.path}")
    emit(facts([("catalogues", ", ".join(published.catalogs) or "none yet"), ("views", ", ".join(published.views))]))


def _reports(folder: Path, catalog: str | None, run: str | None) -> list[dict[str, Any]]:
    """Pages of the run asked for, or the latest of each kind, of one catalogue or of each.

    Raises:
        NothingPublished: there are none.
    """
    from core.errors import NothingPublished

    catalogs = [folder / catalog] if catalog else sorted(path for path in folder.glob("*") if path.is_dir())
    pages = [page for place in catalogs for page in _pages(place, run)]
    found = [
        {"catalog": run_folder.parent.name, "run_id": run_folder.name, "name": name, "path": str(page)}
        for run_folder, name, page in pages
    ]
    if not found:
        asked = " of ".join(part for part in (run and f"run {run}", catalog and f"catalogue {catalog}") if part)
        raise NothingPublished(
            f"there are no reports{f' of {asked}' if asked else ' yet'}",
            where=str(folder),
            hint=f"run `aisle run {catalog or 'CATALOG'} SOURCE`, or see `aisle sql 'SELECT * FROM runs'`",
        )
    return found


def _pages(place: Path, run: str | None) -> list[tuple[Path, str, Path]]:
    """The latest page of each name, or all of one run, as (folder of the run, name, page); run ids sort by time."""
    latest: dict[str, tuple[Path, str, Path]] = {}
    for folder in sorted(place.glob("*")):
        if run in {None, folder.name}:
            latest |= {page.stem: (folder, page.stem, page) for page in folder.glob("*.html")}
            if (docs := folder / DATA_DOCS / "index.html").is_file():
                latest[DATA_DOCS] = (folder, DATA_DOCS, docs)
    return [latest[name] for name in sorted(latest, key=lambda name: (name == DATA_DOCS, name))]


def _named(page: dict[str, Any]) -> str:
    name = f"{page['catalog']} {page['name']}"
    return f"{name} {ONLINE}" if page["name"] == DATA_DOCS else name
