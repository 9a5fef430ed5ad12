"""What must not be missing in a home on S3: the files that recorded runs name.

A file that is missing may have been deleted because nobody needs it, or lost: by a wrong rule of the bucket, by a hand
in the wrong prefix. Nobody writes down which. But what the last recorded run names, nobody deletes on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from core.errors import TableDamaged
from warehouse import tables
from warehouse.home import Home
from warehouse.recorded import recorded

_VERSION_DIGITS = 20
"""Of a commit's name in a table's log."""


def named_by_last_run(home: Home, catalog: str) -> set[str]:
    """Keys of all files that the last run recorded in this copy names: rows, the logs that lead to them, and models.

    Of what is damaged here, nothing can be told.
    """
    found: set[str] = set()
    with suppress(TableDamaged):
        versions = recorded(home, catalog)
        runs = tables.version(home.table(catalog, "runs"))
        for kind, at in (versions if runs is None else versions | {"runs": runs}).items():
            with suppress(TableDamaged):
                path = home.table(catalog, kind)
                commits = [path / "_delta_log" / f"{number:0{_VERSION_DIGITS}}.json" for number in range(at + 1)]
                found |= _keys(home, [*commits, *map(Path, tables.files(path, at))])
        models = tables.read(home.table(catalog, "models"), "models", versions.get("models"))["version"].unique()
        found |= _keys(home, (path for name in models for path in (home.models(catalog) / name).rglob("*")))
    return found


def _keys(home: Home, paths: Iterable[Path]) -> set[str]:
    return {path.relative_to(home.root).as_posix() for path in paths}


def is_another(listed: Mapping[str, str], known: Mapping[str, str]) -> bool:
    """Whether a log's commits in the bucket, etags by key, are whole and not those known: an older state, or a new one.

    Somebody has restored a backup then, or begun anew. A log with a gap, or with nothing in it, is neither.
    """
    numbers = sorted(int(Path(key).stem) for key in listed)
    whole = bool(numbers) and numbers == list(range(len(numbers)))
    return whole and any(listed.get(key) != etag for key, etag in known.items())
