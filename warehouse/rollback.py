"""An earlier champion's answers become current again: nothing is scored, and where it can be nothing is written."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import duckdb

from core.errors import TableDamaged
from warehouse import tables
from warehouse.engine import copied, engine, one
from warehouse.recorded import recorded_digests, recorded_runs, versions_of
from warehouse.registry import ModelRecord
from warehouse.runs import Run
from warehouse.statements import quoted, select, statement

__all__ = ["take_back"]

_OTHERS = "model_digest IS DISTINCT FROM getvariable('model_digest')"

_UNREADABLE = (duckdb.Error, TableDamaged, OSError)
"""Of an earlier state that cannot be read any more, and need not be."""


def take_back(run: Run, model: ModelRecord) -> tuple[int, int]:
    """Make the answers that `model` gave before the current ones again, and score nothing.

    Where an earlier state held them for the very products that are current, that one is current again. Else the state
    is written anew: with the rows of the model's last state where they still hold, and with what is found of the rest
    among all that was ever said.

    Returns:
        Rows that got its answers back, and rows that it has none for: these keep what they had.
    """
    run.model_version = model.version
    with engine(run) as connection:
        connection.execute(f"SET VARIABLE model_digest = {quoted(model.digest)}")
        others = one(connection, f"SELECT count(*) FROM state WHERE {_OTHERS}")
        if not others:
            return 0, 0
        same = None
        with suppress(*_UNREADABLE):
            same = _same_state(run, connection)
        if same is not None:
            run.restore("state", same)
            return others, 0
        last: list[str] = []
        with suppress(*_UNREADABLE):
            last = _last_state(run, model, connection)
        connection.execute(f"CREATE VIEW earlier AS {select(last, 'state')}")
        connection.execute(statement("plan_taking_back"))
        back = one(connection, "SELECT (SELECT count(*) FROM still) + (SELECT count(*) FROM known)")
        if back:
            # In whatever order rows come: keeping it would hold in memory what is wide.
            connection.execute("SET preserve_insertion_order = false")
            new = copied(run, connection, statement("taken_back_state"), tables.SMALL_ROW_GROUP)
            run.overwrite("state", new)
    return back, others - back


def _same_state(run: Run, connection: duckdb.DuckDBPyConnection) -> int | None:
    """The newest recorded state with the model's answer for each product that is current, and no other product.

    What a row of the state says of its product follows from `seq`, as does whether an answer is still that of its form.
    """
    if run.mirror is not None:  # the copy of a home on S3 may still have files that the bucket has no more
        return None
    seen = [run.files("state")]
    recorded = [versions_of(text).get("state") for text in recorded_runs(run.home, run.catalog)["tables"]]
    for version in dict.fromkeys(reversed(recorded)):
        files = [] if version is None else _files(run, version)
        if version is None or not files:  # what is older went no later
            return None
        if files in seen:
            continue
        seen.append(files)
        absent, gone, others = connection.execute(f"""
            SELECT count(*) FILTER (earlier.seq IS NULL), count(*) FILTER (now.seq IS NULL), count(*) FILTER (others)
            FROM (SELECT seq FROM state) AS now
            FULL JOIN (SELECT seq, {_OTHERS} AS others FROM ({select(files, "state")})) AS earlier USING (seq)
        """).fetchall()[0]
        if absent:  # it was stored since: older states lack it, too
            return None
        if not gone and not others and _is_whole(run, version):
            return version
    return None


def _last_state(run: Run, model: ModelRecord, connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The files of the newest state with answers of the model that a run of it left; none if they are not whole."""
    runs = recorded_runs(run.home, run.catalog).filter(model_version=model.version)
    for text in reversed(runs["tables"]):
        version = versions_of(text).get("state")
        files = [] if version is None else tables.files(run.table("state"), version)
        own = f"SELECT count(*) FROM ({select(files, 'state')}) WHERE NOT ({_OTHERS})"
        if version is not None and one(connection, own):  # a backfill of a model may leave the state to another
            return files if _is_whole(run, version) else []
    return []


def _files(run: Run, version: int) -> list[str]:
    """The files of the state at a version; none where one of them has gone."""
    files = tables.files(run.table("state"), version)
    return files if all(Path(file).is_file() for file in files) else []


def _is_whole(run: Run, version: int) -> bool:
    """Whether the state at a version is what was written then, by the digests of its files."""
    named = recorded_digests(run.home, run.catalog)
    return all(
        (file.sha256 or named.get(f"state/{file.path.name}")) == tables.sha256(file.path)
        for file in tables.logged(run.table("state"), version)
    )
