"""What the log of a Delta table says: its newest version, and the Parquet files of any version.

Writing is deltalake's. Reading is done here, by the published protocol (github.com/delta-io/delta, PROTOCOL.md): that
takes a page of code, and deltalake would be a quarter of what an API carries along. What is not understood is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from core.errors import HomeUnusable, TableDamaged

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_OTHER_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..+\.(?:parquet|json)")
"""In several parts, or named by a UUID: other programs write those. As long as commits are kept, they say the same."""

_FORMS = (_COMMIT, _CHECKPOINT, _OTHER_CHECKPOINT)

_READER_VERSION = 1
"""Up to here all that a reader must know is which files a version has."""

_FEATURES_VERSION = 3
"""From here on a table names what its readers must know."""

_KNOWN_FEATURES = frozenset({"timestampNtz"})
"""Of that, what changes nothing about files: columns of times that have no zone."""


def version(path: Path) -> int | None:
    """The newest version of a table; None where nothing was ever committed to it.

    Raises:
        HomeUnusable: this user may not read its log.
    """
    # The folder of a log is made before its first commit: another process may be about to, or was killed there.
    try:
        names = _log(path)
    except OSError as error:
        raise unusable(path, None, error) from error
    return max((number for form in _FORMS for number in _numbers(names, form)), default=None)


def files(path: Path, at: int) -> list[str]:
    """The Parquet files of a table at a version, as absolute paths.

    Raises:
        TableDamaged: the log makes no sense, or that version is gone.
        HomeUnusable: this user may not read it.
    """
    try:
        names = _names(path, at)
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise unusable(path, at, error) from error
    root = path.resolve()
    return sorted(str(root / name) for name in names)


def unusable(path: Path, at: int | None, error: Exception) -> TableDamaged | HomeUnusable:
    """The error that says that a table cannot be opened."""
    if isinstance(error, PermissionError):
        return HomeUnusable("cannot be read by this user", where=str(path), hint="let this user read the whole home")
    said = next(iter(str(error).splitlines()), type(error).__name__)[:200]
    return TableDamaged(
        f"cannot be opened{'' if at is None else f' at version {at}'} ({said})",
        where=str(path),
        hint="restore the folder from a backup; what was published before is still there to read",
    )


def _log(path: Path) -> list[str]:
    """The names in a table's log; none where there is no log."""
    try:
        return [file.name for file in (path / "_delta_log").iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbers(names: list[str], form: re.Pattern[str]) -> set[int]:
    """The versions of which a log has files of that form."""
    return {int(found[1]) for name in names if (found := form.fullmatch(name))}


def _names(path: Path, at: int) -> set[str]:
    """The files of a version, below the table: those of the last checkpoint before it, and what changed since.

    Whatever is committed meanwhile has a higher number, and what has a number never changes.
    """
    listed = _log(path)
    commits = _numbers(listed, _COMMIT)
    start = max((number for number in _numbers(listed, _CHECKPOINT) if number <= at), default=None)
    wanted = range(0 if start is None else start + 1, at + 1)
    if lost := [number for number in wanted if number not in commits]:
        raise ValueError(f"its log has no version {lost[0]}")
    names = set() if start is None else _checkpointed(path / "_delta_log" / f"{start:020}.checkpoint.parquet")
    for number in wanted:
        came, went = set(), set()
        for action in _actions(path / "_delta_log" / f"{number:020}.json"):
            if "add" in action:
                came.add(action["add"]["path"])
            elif "remove" in action:
                went.add(action["remove"]["path"])
            elif "protocol" in action:
                _require_understood(action["protocol"])
        names = (names - went) | came
    return {_below(name) for name in names}


def _below(name: str) -> str:
    """A file's path below its table, which the log has as a URI. Raises ValueError for one that lies elsewhere."""
    if urlsplit(name).scheme or (path := unquote(name)).startswith("/"):
        raise ValueError(f"its file {name} lies outside of it")
    return path


def _actions(commit: Path) -> Iterator[dict[str, Any]]:
    with commit.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _checkpointed(checkpoint: Path) -> set[str]:
    rows = pl.scan_parquet(checkpoint).select("protocol", path=pl.col("add").struct.field("path")).collect()
    for protocol in rows["protocol"].drop_nulls():
        _require_understood(protocol)
    return set(rows["path"].drop_nulls())


def _require_understood(protocol: dict[str, Any]) -> None:
    """Raise ValueError for a table that another program has given features that decide which rows there are."""
    least = protocol["minReaderVersion"]
    unknown = set(protocol.get("readerFeatures") or ()) - _KNOWN_FEATURES
    if least not in (_READER_VERSION, _FEATURES_VERSION) or unknown:
        asked = ", ".join(sorted(unknown)) or f"version {least}"
        raise ValueError(f"readers of it must know {asked} of Delta's protocol, and Aisle does not")
