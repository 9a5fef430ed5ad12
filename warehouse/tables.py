"""Delta tables, one for each catalogue and kind: their columns, and reading and writing them at a version.

Every write is one atomic Delta commit. A commit is seen by nobody until a run records its version (see `runs`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import polars as pl
from arro3.core import Table
from deltalake import DeltaTable, Schema, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from core.errors import TableDamaged
from warehouse.home import naming_disk_errors

ROW_GROUP = 50_000
"""Rows in a Parquet row group: what a reader holds at least, and the grain at which files are skipped."""

SHA256_CHARS = 64

COMPACTED_BYTES = 128 << 20
"""About how large files are made that are written together."""

PATH = pl.List(pl.String)
REASONS = pl.List(pl.Struct({"token": pl.String, "field": pl.String, "weight": pl.Float64}))
TIME = pl.Datetime("us", "UTC")

PREDICTION: dict[str, Any] = {
    "label": pl.String,
    "label_path": PATH,
    "confidence": pl.Float64,
    "confidence_path": pl.List(pl.Float64),
    "runner_up": pl.String,
    "reasons": REASONS,
    "model_version": pl.String,
    "model_digest": pl.String,
    "scored_run_id": pl.String,
    "scored_at": TIME,
}
"""What a model said of a product."""

COLUMNS: dict[str, dict[str, Any]] = {
    # Every version of every product ever stored, append-only; a catalogue adds its own fields and kept columns.
    "products": {
        "seq": pl.Int64,
        "product_id": pl.String,
        "known_path": PATH,
        "text_hash": pl.String,
        "feature_hash": pl.String,
        "row_hash": pl.String,
        "source_file": pl.String,
        "source_row": pl.Int64,
        "run_id": pl.String,
        "stored_at": TIME,
    },
    # One row a current product: which version of it is current, and what was last said of it.
    "state": {
        "product_id": pl.String,
        "seq": pl.Int64,
        "first_seq": pl.Int64,
        "known_path": PATH,
        "text_hash": pl.String,
        "feature_hash": pl.String,
        "row_hash": pl.String,
        **PREDICTION,
    },
    # Every prediction ever made, append-only.
    "scores": {"product_id": pl.String, "seq": pl.Int64, "feature_hash": pl.String, **PREDICTION},
    "rejects": {
        "run_id": pl.String,
        "source": pl.String,
        "line": pl.Int64,
        "raw": pl.String,
        "reasons": pl.List(pl.String),
        "rejected_at": TIME,
    },
    "conflicts": {
        "run_id": pl.String,
        "product_id": pl.String,
        "source": pl.String,
        "line": pl.Int64,
        "kept_source": pl.String,
        "kept_line": pl.Int64,
        "known_path": PATH,
        "kept_path": PATH,
        "differs": pl.List(pl.String),
        "row": pl.String,
    },
    "removed": {"run_id": pl.String, "product_id": pl.String, "seq": pl.Int64, "removed_at": TIME},
    # Every label that a person gave, append-only, with what the model said then; the newest of a product counts.
    "labels": {
        "product_id": pl.String,
        "label_path": PATH,
        "labelled_by": pl.String,
        "why": pl.String,
        "labelled_at": TIME,
        "run_id": pl.String,
        "source_file": pl.String,
        "source_digest": pl.String,
        "predicted_path": PATH,
        "confidence": pl.Float64,
        "model_version": pl.String,
    },
    "drift": {
        "run_id": pl.String,
        "measured_at": TIME,
        "comparison": pl.String,
        "metric": pl.String,
        "field": pl.String,
        "method": pl.String,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "drifted": pl.Boolean,
        "n_reference": pl.Int64,
        "n_current": pl.Int64,
        "seed": pl.Int64,
        "model_version": pl.String,
    },
    # Each rule of the policy on retraining, as it was applied; `wanted` is the decision of all of them together.
    "retraining": {
        "run_id": pl.String,
        "decided_at": TIME,
        "model_version": pl.String,
        "rule": pl.String,
        "value": pl.Float64,
        "limit": pl.Float64,
        "met": pl.Boolean,
        "why": pl.String,
        "wanted": pl.Boolean,
    },
    # What happened to each model, append-only: trained, promoted, refused, rejected, rolled_back.
    "models": {
        "noted_at": TIME,
        "event": pl.String,
        "version": pl.String,
        "digest": pl.String,
        "recipe": pl.String,
        "params": pl.String,
        "data_digest": pl.String,
        "rows": pl.Int64,
        "holdout_rows": pl.Int64,
        "accuracy": pl.Float64,
        "macro_f1": pl.Float64,
        "weighted_f1": pl.Float64,
        "metrics": pl.String,
        "train_s": pl.Float64,
        "why": pl.String,
        "decided_by": pl.String,
        "run_id": pl.String,
    },
    # Every check of a challenger against the champion, append-only.
    "gate": {
        "run_id": pl.String,
        "judged_at": TIME,
        "model_version": pl.String,
        "champion_version": pl.String,
        "place": pl.Int64,
        "name": pl.String,
        "label": pl.String,
        "title": pl.String,
        "rows": pl.Int64,
        "challenger": pl.Float64,
        "champion": pl.Float64,
        "difference": pl.Float64,
        "low": pl.Float64,
        "threshold": pl.Float64,
        "passed": pl.Boolean,
        "said": pl.String,
        "seed": pl.Int64,
    },
    # Every recipe that a search tried out, append-only: a trial makes no model.
    "trials": {
        "run_id": pl.String,
        "trial": pl.Int64,
        "recipe": pl.String,
        "params": pl.String,
        "tried": pl.String,
        "data_digest": pl.String,
        "rows": pl.Int64,
        "folds": pl.Int64,
        "seed": pl.Int64,
        "accuracy": pl.Float64,
        "macro_f1": pl.Float64,
        "weighted_f1": pl.Float64,
        "by_fold": pl.List(pl.Float64),
        "fit_s": pl.Float64,
        "tried_at": TIME,
    },
    # Per model and label, and node above labels that are paths, from which confidence on a prediction is accepted;
    # null: never.
    "policy": {
        "model_version": pl.String,
        "label": pl.String,
        "level": pl.Int64,
        "threshold": pl.Float64,
        "path_thresholds": pl.List(pl.Float64),
        "precision_target": pl.Float64,
        "support": pl.Int64,
        "precision": pl.Float64,
        "coverage": pl.Float64,
        "reason": pl.String,
        "review_all": pl.Boolean,
        "set_at": TIME,
        "run_id": pl.String,
    },
    "runs": {
        "run_id": pl.String,
        "flow": pl.String,
        "started_at": TIME,
        "finished_at": TIME,
        "source": pl.List(pl.String),
        "read": pl.Int64,
        "stored": pl.Int64,
        "unchanged": pl.Int64,
        "repeated": pl.Int64,
        "rejected": pl.Int64,
        "removed": pl.Int64,
        "scored": pl.Int64,
        "model_version": pl.String,
        "tables": pl.String,
        # sha256 of the files that it read.
        "source_digest": pl.String,
    },
}

# Versions are named by runs, and runs are kept: so is the log. By default what is older than 30 days goes from it.
_CONFIGURATION: dict[str, str | None] = {"delta.enableExpiredLogCleanup": "false"}
_WRITER = WriterProperties(max_row_group_size=ROW_GROUP, compression="ZSTD", compression_level=1)


@dataclass(frozen=True)
class LoggedFile:
    """A Parquet file as its table's log has it."""

    path: Path
    bytes: int
    rows: int

    @property
    def sha256(self) -> str | None:
        """Its digest when it was written; None for the small ones that deltalake itself wrote."""
        last = self.path.stem.rpartition("-")[2]
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


def version(path: Path) -> int | None:
    """The newest version of a table; None where nothing was ever committed to it."""
    # The folder of a log is made before its first commit: another process may be about to, or was killed there.
    if not any(file.suffix in {".json", ".parquet"} for file in (path / "_delta_log").glob("[0-9]*")):
        return None
    return _open(path).version()


def append(path: Path, data: pl.DataFrame | Path) -> int:
    """Append rows (a frame, or a Parquet file, which is moved) in one commit; returns the new version."""
    return _write(path, data, "append")


def overwrite(path: Path, data: pl.DataFrame | Path) -> int:
    """Replace all rows in one commit; earlier versions stay readable. Returns the new version."""
    return _write(path, data, "overwrite")


def _write(path: Path, data: pl.DataFrame | Path, mode: Literal["append", "overwrite"]) -> int:
    with naming_disk_errors(path):
        if isinstance(data, Path):
            _commit_file(path, data, mode)
        else:
            schema_mode = "merge" if mode == "append" else "overwrite"
            how: dict[str, Any] = {"mode": mode, "schema_mode": schema_mode, "configuration": _CONFIGURATION}
            write_deltalake(path, data.to_arrow(), writer_properties=_WRITER, **how)
    return _open(path).version()


def _commit_file(path: Path, file: Path, mode: Literal["append", "overwrite"]) -> None:
    """Make a Parquet file part of a table, its digest in its name. One that is moved but not committed is no part."""
    empty_frame = pl.DataFrame(schema=pl.read_parquet_schema(file))
    schema = Schema.from_arrow(Table.from_arrow(empty_frame).schema)
    rows = pl.scan_parquet(file).select(pl.len()).collect().item()
    path.mkdir(parents=True, exist_ok=True)
    own = path / f"part-{file.stem}-{sha256(file)}.parquet"
    file.replace(own)
    stat = own.stat()
    stats = json.dumps({"numRecords": rows})
    action = AddAction(own.name, stat.st_size, {}, stat.st_mtime_ns // 1_000_000, True, stats)
    if version(path) is None:
        create_table_with_add_actions(str(path), schema, [action], mode="error", configuration=_CONFIGURATION)
        return
    table = _open(path)
    known = {field.name for field in table.schema().fields}
    if new := [field for field in schema.fields if field.name not in known]:
        table.alter.add_columns(new)  # a commit of its own, which changes no row
        table = _open(path)
    table.create_write_transaction([action], mode, schema)


def sha256(file: Path) -> str:
    """Hex sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files(path: Path, at: int) -> list[str]:
    """The Parquet files of a table at a version, as absolute paths.

    Raises:
        TableDamaged: the log cannot be read, or that version is gone.
    """
    # delta-rs gives addresses: a space or an accent in the home's path comes percent-encoded.
    return sorted(unquote(uri.removeprefix("file://")) for uri in _open(path, at).file_uris())


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
        done = _open(path).optimize.compact(target_size=COMPACTED_BYTES, writer_properties=_WRITER)
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
    return pl.scan_parquet(found, missing_columns="insert", extra_columns="ignore") if found else None


def read(path: Path, kind: str, at: int | None) -> pl.DataFrame:
    """All rows of a small table at a version, in its declared columns."""
    lazy = scan(path, at)
    return empty(kind) if lazy is None else conform(lazy.collect(), kind)


def _open(path: Path, at: int | None = None) -> DeltaTable:
    try:
        return DeltaTable(path, version=at)
    except (TableNotFoundError, DeltaError, OSError, ValueError) as error:
        raise TableDamaged(
            f"cannot be opened{'' if at is None else f' at version {at}'} ({str(error).splitlines()[0][:200]})",
            where=str(path),
            hint="restore the folder from a backup; what was published before is still there to read",
        ) from error
