"""`aisle demo`: the whole pipeline on a generated shop, on its first day and when half of the assortment is new."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aisle import running, summary
from aisle.options import Json, Prefect
from aisle.render import as_json, emit, note, table

if TYPE_CHECKING:
    from tasks.results import RunResult

CATALOG = "demo"
DAYS = (0, 30)
"""The shop's first day, and one on which half of its assortment is of the new season."""

QUERY = (
    "SELECT label, decision, count(*) AS products, round(avg(confidence), 3) AS confidence "
    f"FROM predictions WHERE catalog = '{CATALOG}' GROUP BY ALL ORDER BY label, decision"
)


def demo(
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=200, help="Rows of the generated file.")] = 20_000,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Where data lies, in place of AISLE_HOME.", show_default=False),
    ] = None,
    prefect: Prefect = False,
    as_json_: Json = False,
) -> None:
    """Show everything at work on a generated shop.

    Nothing is downloaded. Ingests, trains, scores and monitors the shop's first day, then one on which it has changed.
    """
    if home is not None:
        os.environ["AISLE_HOME"] = str(home.absolute())
    running.prepare()
    from catalogs.demo import generate
    from core.settings import get_settings
    from flows.nightly import nightly
    from warehouse.home import get_home

    get_settings.cache_clear()
    place = get_home().prepare()
    results: list[RunResult] = []
    for day in DAYS:
        note(f"demo: day {day} of the shop")
        source = generate(place.root / "demo", rows, get_settings().seed, day)
        what = f"run {CATALOG}, day {day}"
        results.append(running.run(nightly, CATALOG, [str(source)], what=what, with_prefect=prefect))
    query = query_command(place.name, QUERY, home_given=home is not None)
    if as_json_:
        days = [{"day": day} | result.as_dict() for day, result in zip(DAYS, results, strict=True)]
        emit(as_json({"days": days, "query": query}))
        return
    emit(_summary(results, query))


def query_command(home: str, sql: str, *, home_given: bool) -> str:
    """A command line for this query that works as pasted, from any folder and whether or not aisle is on the PATH."""
    program = Path(sys.argv[0]).absolute()
    found = shutil.which("aisle")
    known = found is not None and program.exists() and Path(found).samefile(program)
    settled = not home_given and Path(os.environ.get("AISLE_HOME", "")).is_absolute()
    prefix = "" if settled else f"AISLE_HOME={shlex.quote(home)} "
    runs_python = program.name == "__main__.py"
    command = "aisle" if known else shlex.join([sys.executable, "-m", "aisle"] if runs_python else [str(program)])
    return f'{prefix}{command} sql "{sql}"'


def _summary(results: list[RunResult], query: str) -> str:
    places = ["read", *summary.PLACES]
    lines = ["", table(["rows", *(f"day {day}" for day in DAYS)], _by_day(places, results))]
    lines += [summary.nothing_new(result.rows) for result in results if summary.is_nothing_new(result.rows)]
    first, last = results[0], results[-1]
    lines += ["", summary.scores(f"Aisle ({first.model.get('version')})", first.model, first.baselines), ""]
    for day, result in zip(DAYS, results, strict=True):
        lines.append(f"day {day}: {summary.drift(result.drift)}")
        if result.drift["arrivals"]["drifted"] is not None:
            lines.append(f"day {day}, arrivals: {summary.drift(result.drift['arrivals'])}")
    lines += ["", *summary.reports(first.reports | last.reports), "", "ask it something:", f"  {query}"]
    return "\n".join(lines)


def _by_day(places: list[str], results: list[RunResult]) -> list[list[Any]]:
    return [[place, *(f"{result.rows.get(place, 0):,}" for result in results)] for place in places]
