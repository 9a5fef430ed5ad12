"""A run: the unit in which a catalogue changes. Nothing that it wrote is seen before its last act records it.

A run holds its catalogue's lock. On starting it undoes what an interrupted run left behind: commits that no run
recorded, and staged files. On success it appends one row, with the version of each of its tables, to the catalogue's
`runs` table (one atomic Delta commit) and publishes. A killed run therefore changed nothing, and the next one starts
clean.

What is to happen only then (others being told) waits in `Run.afterwards`, and is done once the run can be seen.
"""

from __future__ import annotations

import json
import logging
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from catalogs import registry
from core.errors import AisleError, TableDamaged
from core.events import Event, EventName, tell
from core.settings import get_settings
from warehouse import columns, tables
from warehouse.home import Home, get_home, naming_disk_errors
from warehouse.locks import locked
from warehouse.publish import is_published, publish, refuse_if_forgotten
from warehouse.recorded import recorded, recorded_runs
from warehouse.working import Working, working

log = logging.getLogger("aisle.runs")

COUNTS = ("read", "stored", "unchanged", "repeated", "rejected", "removed", "scored")


@dataclass
class Run:
    """One run under way. `versions` are the table versions it reads, updated as it writes; `digests` are those of files
    that its compaction wrote.

    `mirror` brings what it writes to S3, where its home is there. `afterwards` is called when what was written so far
    has been recorded and published, and never if it was not; a call that fails is logged.
    """

    home: Home
    catalog: str
    flow: str
    run_id: str
    started_at: datetime
    source: list[str]
    versions: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    model_version: str | None = None
    source_digest: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    recorded: bool = False
    mirror: Working | None = None
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    _recorded: list[Callable[[], None]] = field(default_factory=list)
    _due: list[Callable[[], None]] = field(default_factory=list)

    @property
    def staging(self) -> Path:
        """A folder of this run's own, gone when it ends. What workers of a killed run still write is not in it."""
        return self.home.staging(self.catalog) / self.run_id

    @property
    def reports(self) -> Path:
        """Where this run's reports go."""
        return self.home.run_reports(self.catalog, self.run_id)

    def table(self, kind: str) -> Path:
        """Path of one of the catalogue's tables."""
        return self.home.table(self.catalog, kind)

    def append(self, kind: str, *parts: pl.DataFrame | Path) -> None:
        """Append rows to one of the catalogue's tables, as `tables.append`."""
        self._wrote(kind, tables.append(self.table(kind), *parts))

    def overwrite(self, kind: str, *parts: pl.DataFrame | Path) -> None:
        """Replace all rows of one of the catalogue's tables, as `tables.overwrite`."""
        self._wrote(kind, tables.overwrite(self.table(kind), *parts))

    def restore(self, kind: str, version: int) -> None:
        """Make the rows of one of the catalogue's tables those of an earlier version again, which keeps its files."""
        tables.restore(self.table(kind), version)
        self._wrote(kind, tables.version(self.table(kind)))

    def read(self, kind: str) -> pl.DataFrame:
        """All rows of a small table, as this run sees it."""
        return tables.read(self.table(kind), kind, self.versions.get(kind))

    def scan(self, kind: str) -> pl.LazyFrame:
        """Rows of a table of any size, as this run sees it."""
        found = tables.scan(self.table(kind), self.versions.get(kind))
        return tables.empty(kind).lazy() if found is None else found

    def files(self, kind: str) -> list[str]:
        """Parquet files of a table, as this run sees it."""
        at = self.versions.get(kind)
        return [] if at is None else tables.files(self.table(kind), at)

    def compact(self, kind: str) -> tuple[int, int]:
        """Write a table's small files together; returns how many files went and came."""
        path = self.table(kind)
        if kind == "runs":  # what says the digests of others has its own in its name
            rows, files = recorded_runs(self.home, self.catalog), tables.logged(path, tables.version(path) or 0)
            tables.overwrite(path, rows)
            return len(files), 1
        changed = tables.compact(path)
        if (now := tables.version(path)) is not None:
            unnamed = [file.path for file in tables.logged(path, now) if file.sha256 is None]
            self.digests |= {f"{kind}/{file.name}": tables.sha256(file) for file in unnamed}
        self._wrote(kind, now)
        return changed

    def vacuum(self, kind: str, hours: int, keep: list[int]) -> tuple[int, int]:
        """Delete a table's files that no version to keep needs; returns how many, and their bytes."""
        with self.deleting(self.table(kind)):
            removed = tables.vacuum(self.table(kind), hours, keep)
        self._wrote(kind, tables.version(self.table(kind)))  # it says so in the log: a version with the same rows
        return removed

    def deleting(self, folder: Path) -> AbstractContextManager[None]:
        """Around what deletes files of a folder: of a home on S3, they are to go from the bucket, too."""
        return nullcontext() if self.mirror is None else self.mirror.deleting(folder)

    def _wrote(self, kind: str, version: int | None) -> None:
        if version is not None and kind != "runs":  # which is read at its newest version, whatever runs have recorded
            self.versions[kind] = version

    def record(self) -> None:
        """The run's last act: one row in `runs`, which makes everything it wrote visible to the next publish."""
        row: dict[str, Any] = {
            "run_id": self.run_id,
            "flow": self.flow,
            "started_at": self.started_at,
            "finished_at": self.later_than(recorded_runs(self.home, self.catalog)["finished_at"]),
            "source": self.source,
            **{name: self.counts.get(name) for name in COUNTS},
            "model_version": self.model_version,
            "tables": json.dumps(self.versions, sort_keys=True),
            "source_digest": self.source_digest,
            "digests": json.dumps(self.digests) if self.digests else None,
        }
        frame = tables.conform(pl.DataFrame([row], schema_overrides={"source": pl.List(pl.String)}), "runs")
        with nullcontext(self.table("runs")) if self.mirror is None else self.mirror.recording() as runs:
            tables.append(runs, frame)
        self.recorded = True
        self._recorded += self.afterwards
        self.afterwards.clear()

    def publish(self) -> None:
        """Have readers see what has been recorded."""
        publish(self.home, self.catalog)
        self._due += self._recorded
        self._recorded.clear()

    def call_due(self) -> None:
        """Do what waited for what has been recorded and published."""
        for call in self._due:
            try:
                call()
            except Exception:
                log.warning(
                    "run %s of %s is recorded; what was due behind it failed", self.run_id, self.catalog, exc_info=True
                )
        self._due.clear()

    @staticmethod
    def later_than(times: pl.Series) -> datetime:
        """Now, or just after the last of `times` where the clock was set back: what is newest stays newest."""
        now, last = datetime.now(UTC), times.max()
        return max(now, last + timedelta(microseconds=1)) if isinstance(last, datetime) else now


_open_runs: dict[str, Run] = {}
"""Runs of this process by id, so that a flow within a flow joins its run."""


@contextmanager
def open_run(catalog: str, flow: str, source: list[str] | None = None, within: str | None = None) -> Iterator[Run]:
    """Start a run, or join the one named by `within`; record and publish it when the block ends without an error.

    Raises:
        UnknownCatalog, SpecInvalid: there is no such catalogue, or it cannot be used; then nothing was touched.
        RunLocked: another run of the catalogue did not end in time.
        RunOvertaken: another machine took this run for dead; only in a home on S3.
        HomeUnusable, HomeNewer: the home cannot be used.
    """
    if within is not None:
        yield _open_runs[within]
        return
    run: Run | None = None
    try:
        with _alone(catalog, flow, source or []) as run:
            yield run
    except Exception as error:
        tell(_failure(catalog, flow, run, error))
        raise


def finish(catalog: str) -> None:
    """Publish what a killed run has recorded, where it did not come to that. Records no run.

    Raises:
        As `open_run`.
    """
    if not is_published(get_home(), catalog):
        with _alone(catalog, "finish", [], records=False):
            pass


@contextmanager
def _alone(catalog: str, flow: str, source: list[str], *, records: bool = True) -> Iterator[Run]:
    """A run that holds its catalogue's lock; what is due behind it is done when the lock is free again."""
    registry.load(catalog)
    home = get_home(fresh=False).prepare()
    run: Run | None = None
    try:
        with (
            naming_disk_errors(home.root),
            locked(home.lock(f"run-{catalog}"), wait_s=get_settings().lock_wait_s, what=f"a run of {catalog}"),
            working(home, catalog) as mirror,
        ):
            versions = recorded(home, catalog)
            refuse_if_forgotten(home, catalog, versions)
            run = Run(home, catalog, flow, new_run_id(), datetime.now(UTC), source, versions=versions, mirror=mirror)
            _undo_what_was_not_recorded(run)
            _publish_what_was_recorded(run)
            _open_runs[run.run_id] = run
            try:
                yield run
                if records:
                    run.record()
            except BaseException:
                if not run.recorded:
                    shutil.rmtree(run.reports, ignore_errors=True)  # nobody is shown what did not happen
                raise
            finally:
                del _open_runs[run.run_id]
                shutil.rmtree(run.staging, ignore_errors=True)
            run.publish()
    finally:
        if run is not None:
            run.call_due()


def announce(run: Run, event: EventName, summary: str, facts: Mapping[str, Any] | None = None) -> None:
    """Have an event told once what the run has written so far is recorded and published.

    Args:
        run: the run that found it.
        event: one of core.events.NAMES.
        summary: a sentence for people.
        facts: the same for machines, JSON-ready.
    """
    told = Event(event, run.catalog, run.run_id, summary, facts or {})
    run.afterwards.append(lambda: tell(told))


def _failure(catalog: str, flow: str, run: Run | None, error: Exception) -> Event:
    named = error if isinstance(error, AisleError) else None
    told = named.as_dict() if named else {"error": type(error).__name__, "message": str(error)}
    recorded_before = run is not None and run.recorded  # a nightly run keeps its predictions, whatever comes after
    return Event(
        "aisle.run.failed",
        catalog,
        None if run is None else run.run_id,
        f"{flow} of {catalog} failed: {told['error']}: {told['message']}",
        {"flow": flow, **told, "recorded": recorded_before},
    )


def joined(run_id: str) -> Run:
    """The run of that id that is under way in this process: steps name their run instead of carrying it."""
    return _open_runs[run_id]


def new_run_id() -> str:
    """A name that sorts by time and never repeats."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _undo_what_was_not_recorded(run: Run) -> None:
    shutil.rmtree(run.home.staging(run.catalog), ignore_errors=True)
    for kind in columns.COLUMNS:
        if kind != "runs":
            tables.restore(run.table(kind), run.versions.get(kind))
    _remove_but(run.home.reports / run.catalog, recorded_runs(run.home, run.catalog)["run_id"])
    with run.deleting(run.home.models(run.catalog)):
        _remove_but(run.home.models(run.catalog), run.read("models")["version"])
    # Restoring makes a commit of its own: read at it from now on, the rows are the same.
    for kind in run.versions:
        now = tables.version(run.table(kind))
        if now is not None:
            run.versions[kind] = now
    run.staging.mkdir(parents=True, exist_ok=True)


def _publish_what_was_recorded(run: Run) -> None:
    if not is_published(run.home, run.catalog):
        with suppress(TableDamaged):  # this run may be the one that is to find out, and says so when it publishes
            run.publish()


def _remove_but(folder: Path, recorded_names: pl.Series) -> None:
    """Remove what runs that were never recorded have left in a folder of reports or artifacts: nobody is to meet it."""
    keep = set(recorded_names)
    for left in folder.glob("*"):
        if left.name not in keep and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
