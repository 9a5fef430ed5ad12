"""The warehouse as it was: the same views, over the table versions that runs had recorded by then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time

import duckdb
import polars as pl

from core.errors import NothingPublished, NotKept, TableDamaged, UnknownRun, UsageError, did_you_mean
from warehouse.home import Home
from warehouse.publish import build, parts_of
from warehouse.recorded import readable, recorded_runs
from warehouse.spill import reader

__all__ = ["end_of_run", "moment", "open_past"]


def moment(text: str, option: str, *, end_of_day: bool = True) -> datetime:
    """The time that a person means: a date, or a date and time, in UTC where no offset is given.

    Args:
        text: ISO 8601.
        option: where it was given, for the error.
        end_of_day: whether a date means its last moment, or its first.

    Raises:
        UsageError: it is none.
    """
    try:
        with suppress(ValueError):  # in any form of ISO 8601: 20260131 is a date, too
            return datetime.combine(date.fromisoformat(text), time.max if end_of_day else time.min, tzinfo=UTC)
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"'{text}' is no date and no time", where=option, hint="for example 2026-01-31, or 2026-01-31T18:30:00Z"
        ) from error


def end_of_run(home: Home, run_id: str) -> datetime:
    """When a run ended.

    Raises:
        UnknownRun: none of that id was recorded.
    """
    runs = pl.concat([recorded_runs(home, catalog) for catalog in home.catalogs()] or [pl.DataFrame()])
    if runs.is_empty() or run_id not in runs["run_id"]:
        known = [] if runs.is_empty() else runs["run_id"].unique().to_list()
        raise UnknownRun(
            f"no run {run_id} was recorded", where=str(home.root), hint=f"{did_you_mean(run_id, known[-20:])}"
        )
    ended: datetime = runs.filter(pl.col("run_id") == run_id)["finished_at"].max()  # type: ignore[assignment]
    return ended


@contextmanager
def open_past(home: Home, then: datetime) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the warehouse as it was at a time, which can open no file outside the home.

    Raises:
        NothingPublished: no run had been recorded by then.
        NotKept: files of that time have been removed since.
        TableDamaged: what is current cannot be read either.
    """
    home.check()
    versions = {catalog: readable(home, catalog, then) for catalog in home.catalogs()}
    versions = {catalog: own for catalog, own in versions.items() if own}
    if not versions:
        raise NothingPublished(
            f"no run had been recorded by {then:%Y-%m-%d %H:%M:%S} UTC", where=str(home.root), hint=_first(home)
        )
    with reader(home) as connection:
        try:
            build(connection, {name: parts_of(connection, home, name, own) for name, own in versions.items()}, then)
        except TableDamaged as error:
            for name in versions:
                parts_of(connection, home, name, readable(home, name))  # a damaged home is called that
            raise NotKept(
                f"files of {then:%Y-%m-%d %H:%M:%S} UTC have been removed since ({error.message})",
                where=error.where,
                hint="predictions_history still has every prediction: filter it by scored_at; AISLE_RETENTION_DAYS "
                "of whoever runs `aisle maintain` says how long files are kept",
            ) from error
        yield connection


def _first(home: Home) -> str:
    ends = [recorded_runs(home, catalog)["finished_at"].min() for catalog in home.catalogs()]
    known = [end for end in ends if isinstance(end, datetime)]
    return f"the first run ended at {min(known):%Y-%m-%d %H:%M:%S} UTC" if known else "run `aisle run CATALOG SOURCE`"
