"""Step: the files of a source, each to be a run of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from catalogs import registry
from catalogs.sources import resolve
from core.errors import UsageError
from core.orchestration import step
from tasks.digest_source import digest_of
from warehouse.home import get_home
from warehouse.recorded import recorded_runs
from warehouse.runs import finish


@dataclass(frozen=True)
class Batches:
    """Files in their order: those that are to be taken in, and the others with the run that has taken each in."""

    todo: list[str]
    done: dict[str, str]


@step("list batches")
def list_batches(catalog: str, source: list[str]) -> Batches:
    """Tell files that were read in this order, byte for byte and by these names, from those that are still to be read.

    From the first that was not, all are to be read: each may say again what an earlier one took back. Where none is,
    the run that read the last of them is finished: it may have been killed before it was published.

    Raises:
        UsageError: an address; files are looked at before they are read.
    """
    if far := [name for name in source if "://" in name]:
        raise UsageError(
            "one after another are taken files, folders and globs, no addresses",
            where=far[0],
            hint="fetch it first, or leave out --in-order",
        )
    read = _files_read(catalog)
    files = resolve(source, registry.load(catalog), Path())
    done: dict[str, str] = {}
    for file in files:
        this = (file.path.name, digest_of(file))
        run = next((run for *known, run in read if tuple(known) == this), None)
        if run is None:
            break
        done[file.name] = run
    if len(done) == len(files):
        finish(catalog)
    return Batches([str(file.path) for file in files[len(done) :]], done)


def _files_read(catalog: str) -> Iterator[tuple[str, str, str]]:
    """Name and sha256 of each file that was read alone, and the run that has read it; in the order of the runs."""
    runs = recorded_runs(get_home(), catalog).unique("run_id", keep="last", maintain_order=True)
    known = runs.filter(pl.col("source").list.len() == 1, pl.col("source_digest").is_not_null())
    for [source], digest, run in known.select("source", "source_digest", "run_id").iter_rows():
        yield Path(source).name, digest, run
