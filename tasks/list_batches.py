"""Step: the files of a source, each to be a run of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from catalogs import registry
from catalogs.sources import resolve
from core.errors import UsageError
from core.orchestration import step
from tasks.find_source import digest_of
from warehouse.home import get_home
from warehouse.recorded import recorded_runs


@dataclass(frozen=True)
class Batches:
    """Files in their order: those that are to be taken in, and the others with the run that has taken each in."""

    todo: list[str]
    done: dict[str, str]


@step("list batches")
def list_batches(catalog: str, source: list[str]) -> Batches:
    """Tell files that a recorded run has read, byte for byte, from those that are still to be read.

    Raises:
        UsageError: an address; files are looked at before they are read.
    """
    if far := [name for name in source if "://" in name]:
        raise UsageError(
            "one after another are taken files, folders and globs, no addresses",
            where=far[0],
            hint="fetch it first, or leave out --in-order",
        )
    runs = recorded_runs(get_home(), catalog)
    known = dict(runs.select("source_digest", "run_id").drop_nulls().iter_rows())
    todo: list[str] = []
    done: dict[str, str] = {}
    for file in resolve(source, registry.load(catalog), Path()):
        digest = digest_of([file])
        if digest in known:
            done[file.name] = known[digest]
        else:
            todo.append(str(file.path))
    return Batches(todo, done)
