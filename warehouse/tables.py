"""Delta tables, one for each catalogue and kind: reading and writing them at a version.

Every write is one atomic Delta commit. A commit is seen by nobody until a run records its version (see `runs`).
deltalake is imported where something is written: an installation that only serves and queries has none.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

import polars as pl

from core.errors import TableDamaged
from warehouse.columns import COLUMNS
from warehouse.delta_log import files, unusable, version
from warehouse.home import naming_disk_errors

if TYPE_CHECKING:
    from deltalake import DeltaTable, WriterProperties
    from deltalake.transaction import AddAction

__all__ = [
    "LoggedFile",
    "append",
    "compact",
    "conform",
    "empty",
    "files",
    "logged",
    "overwrite",
    "read",
    "restore",
    "scan",
    "scan_files",
    "sha256",
    "vacuum",
    "version",
    "write_parquet",
]

ROW_GROUP = 50_000
"""Rows in a Parquet row group: what a reader holds at least, and the grain at which files are skipped."""

SMALL_ROW_GROUP = 10_000
"""The same where a join of all that is wide writes it: each core holds a group until it is full, and a join that is
left too little room cannot even spill."""

SHA256_CHARS = 64

COMPACTED_BYTES = 128 << 20
"""About how large files are made that are written together."""

# Versions are named by runs, and runs are kept: so is the log. By default what is older than 30 days goes from it.
_CONFIGURATION: dict[str, str | None] = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True)
class LoggedFile:
    """A Parquet file as its table's log has it."""

    path: Path
    bytes: int
    rows: int

    @property
    def sha256(self) -> str | None:
        """Its digest when it was written, from its name; None for what compaction wrote: runs record those."""
        return _named_digest(self.path)


def _named_digest(path: Path) -> str | None:
    last = path.stem.rpartition("-")[2]
    return last if len(last) == SHA256_CHARS else None


def empty(kind: str) -> pl.DataFrame:
    """A frame of that kind with no rows."""
    return pl.DataFrame(schema=COLUMNS[kind])


def conform(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The frame with the kind's columns in order and cast to its types, other columns behind; missing ones are null."""
    schema = COLUMNS[kind]
    known = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    ]
    return frame.select(*known, *[name for name in frame.columns if name not in schema])


def append(path: Path, *parts: pl.DataFrame | Path) -> int:
    """Append rows in one commit; returns the new version.

    Each part, a frame or a Parquet file, which is moved, becomes a file of the table.
    """
    return _write(path, parts, "append")


def overwrite(path: Path, *parts: pl.DataFrame | Path) -> int:
    """Replace all rows in one commit by `parts`, as in `append`; earlier versions stay readable."""
    return _write(path, parts, "overwrite")


def write_parquet(frame: pl.DataFrame, file: Path) -> None:
    """Write a frame as a file that may become part of a table."""
    frame.write_parquet(file, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)


def _write(path: Path, parts: Sequence[pl.DataFrame | Path], mode: Literal["append", "overwrite"]) -> int:
    made = []
    with naming_disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        try:
            files = []
            for part in parts:
                if isinstance(part, Path):
                    files.append(part)
                    continue
                file = path / f"{secrets.token_hex(8)}.part"
                made.append(file)
                write_parquet(part, file)
                files.append(file)
            _commit_files(path, files, mode)
        finally:
            for file in made:
                file.unlink(missing_ok=True)
    return _open(path).version()


def _writer() -> WriterProperties:
    from deltalake import WriterProperties

    return WriterProperties(max_row_group_size=ROW_GROUP, compression="ZSTD", compression_level=1)


def _commit_files(path: Path, parts: Sequence[Path], mode: Literal["append", "overwrite"]) -> None:
    """Make Parquet files part of a table, in one commit. One that is moved but not committed is no part."""
    from arro3.core import Table
    from deltalake import Schema
    from deltalake.transaction import create_table_with_add_actions

    empty_frame = pl.DataFrame(schema=pl.read_parquet_schema(parts[0]))
    schema = Schema.from_arrow(Table.from_arrow(empty_frame).schema)
    actions = [_moved(path, part) for part in parts]
    if version(path) is None:
        create_table_with_add_actions(str(path), schema, actions, mode="error", configuration=_CONFIGURATION)
        return
    table = _open(path)
    known = {field.name for field in table.schema().fields}
    if new := [field for field in schema.fields if field.name not in known]:
        table.alter.add_columns(new)  # a commit of its own, which changes no row
        table = _open(path)
    table.create_write_transaction([*actions], mode, schema)


def _moved(path: Path, part: Path) -> AddAction:
    """Move a Parquet file into a table's folder, its digest in its name; what is to be committed of it."""
    from deltalake.transaction import AddAction

    # Out of the way first: a worker that comes too late writes the same part again, and not the same bytes.
    moved = path / f"{secrets.token_hex(8)}.part"
    part.replace(moved)
    rows = pl.scan_parquet(moved).select(pl.len()).collect().item()
    own = path / f"part-{part.stem}-{sha256(moved)}.parquet"
    moved.replace(own)
    stat = own.stat()
    stats = json.dumps({"numRecords": rows})
    return AddAction(own.name, stat.st_size, {}, stat.st_mtime_ns // 1_000_000, True, stats)


def sha256(file: Path) -> str:
    """Hex sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def restore(path: Path, at: int | None) -> None:
    """Make a table's newest version equal to an earlier one; None empties it. What came later is no longer read."""
    now = version(path)
    if now is None or now == at:
        return
    if at is None:
        _open(path).delete()
    else:
        _open(path).restore(at)


def logged(path: Path, at: int) -> list[LoggedFile]:
    """The Parquet files of a table at a version, with what its log says of each.

    Raises:
        TableDamaged: the log cannot be read, or that version is gone.
    """
    rows = pl.DataFrame(_open(path, at).get_add_actions(flatten=True)).select("path", "size_bytes", "num_records")
    return [LoggedFile(path / unquote(name), size, count) for name, size, count in rows.iter_rows()]


def compact(path: Path) -> tuple[int, int]:
    """Write the small files of a table together, in one commit; returns how many files went and came."""
    with naming_disk_errors(path):
        done = _open(path).optimize.compact(target_size=COMPACTED_BYTES, writer_properties=_writer())
    return int(done["numFilesRemoved"]), int(done["numFilesAdded"])


def vacuum(path: Path, hours: int, keep: list[int]) -> tuple[int, int]:
    """Delete files that are in none of the versions to `keep` and have been in no newest version for so many hours.

    Files that no commit ever named, of runs that were killed, go when they are as old.

    Returns:
        How many files, and how many bytes they had.
    """
    # "full" looks at every file of the folder, not only at those that the log's last part speaks of.
    asked: dict[str, Any] = {"retention_hours": hours, "enforce_retention_duration": False, "full": True}
    with naming_disk_errors(path):
        named = [path / unquote(name) for name in _open(path).vacuum(**asked, keep_versions=keep, dry_run=True)]
        going = [file for file in named if file.is_file()]  # an earlier vacuum's are named again for as long as a week
        size = sum(file.stat().st_size for file in going)
        if going:  # each vacuum writes two commits of its own
            _open(path).vacuum(**asked, keep_versions=keep, dry_run=False)
    return len(going), size


def scan(path: Path, at: int | None) -> pl.LazyFrame | None:
    """Rows of a table at a version, lazily; None where it has no rows."""
    if at is None:
        return None
    found = files(path, at)
    return scan_files(found) if found else None


def scan_files(found: list[str]) -> pl.LazyFrame:
    """Rows of a table's files, lazily, with every column that one of them has: a catalogue may have gained fields.

    Raises:
        TableDamaged: a file is missing, or is no Parquet.
    """
    columns: dict[str, pl.DataType] = {}
    for file in found:
        try:
            own = pl.read_parquet_schema(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise unusable(Path(file), None, error) from error
        columns |= {name: kind for name, kind in own.items() if name not in columns}
    return pl.scan_parquet(found, schema=columns, missing_columns="insert", extra_columns="ignore")


def read(path: Path, kind: str, at: int | None) -> pl.DataFrame:
    """All rows of a small table at a version, in its declared columns.

    Raises:
        TableDamaged: a file is not the one that was written. Polars may end the process over such a one.
    """
    for file in [] if at is None else map(Path, files(path, at)):
        try:
            whole = _named_digest(file) in {None, sha256(file)}
        except OSError as error:
            raise unusable(path, at, error) from error
        if not whole:
            raise TableDamaged(
                "is not the file that was written: its sha256 differs",
                where=str(file),
                hint="restore it from a backup; what was published before is still there to read",
            )
    lazy = scan(path, at)
    return empty(kind) if lazy is None else conform(lazy.collect(), kind)


def _open(path: Path, at: int | None = None) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(path, version=at)
    except (TableNotFoundError, DeltaError, OSError, ValueError) as error:
        raise unusable(path, at, error) from error
