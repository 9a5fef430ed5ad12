"""A run in a home on S3: it holds the catalogue's lease, and puts what it wrote into the bucket when it is recorded.

No write replaces one that its copy does not know of, and the log of runs has one next place: of two runs that took each
other for dead, one gets there.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import HomeUnusable, RunOvertaken, TableDamaged
from core.settings import get_settings
from warehouse import tables
from warehouse.bucket import Bucket, side_by_side
from warehouse.home import Home, write_atomically
from warehouse.lease import Lease, leased
from warehouse.mirror import ATTEMPTS, COPYING_S, Mirror, check_home, copying, is_data, is_log, size_and_time, turn
from warehouse.publish import note_unpublished
from warehouse.recorded import recorded_runs


class Working(Mirror):
    """The mirror in the hands of a run: it holds the lease, and may write to the bucket."""

    def __init__(self, home: Home, bucket: Bucket, catalog: str, lease: Lease) -> None:
        super().__init__(home, bucket, catalog)
        self._lease = lease
        self._before: set[str] = set()
        self._deleted: set[str] = set()

    def begin(self) -> None:
        """Make the copy equal to the bucket, and sure that nobody else can record a run."""
        self.pull()
        table = self.home.table(self.catalog, "runs")
        if self._lease.recorded and tables.version(table) is None:
            raise TableDamaged(
                f"runs of {self.catalog} were recorded, and there is no record of them any more",
                where=f"{self.bucket.address}/{self.runs}",
                hint="restore it from a backup; to begin anew, move all of this catalogue away first, its lock too",
            )
        if self._lease.taken_over:
            self._close_the_log_to_others()
        self._before = set(recorded_runs(self.home, self.catalog)["run_id"])
        left = [run for run in self.bucket.folders(f"reports/{self.catalog}") if run not in self._before]
        self.bucket.delete([one.key for run in left for one in self.bucket.below(f"reports/{self.catalog}/{run}")])

    def _close_the_log_to_others(self) -> None:
        """Take the next place in the log of runs: whoever held the lease before, and may live, finds it taken."""
        for _ in range(ATTEMPTS):
            try:
                with self.recording() as runs:
                    tables.append(runs, tables.empty("runs"))
            except RunOvertaken:
                self._lease.check()
                self.pull()  # the other one has just recorded its run
            else:
                return
        raise HomeUnusable("changes faster than it can be read", where=self.bucket.address, hint="try again later")

    @contextmanager
    def recording(self) -> Iterator[Path]:
        """A copy of the table `runs` to append to. What is appended is seen here once the bucket has it.

        Raises:
            RunOvertaken: another run has come before.
            TableDamaged: files of the copy have gone.
        """
        self._refuse_losses()
        table = self.home.table(self.catalog, "runs")
        beside = self.home.staging(self.catalog) / "runs"
        shutil.rmtree(beside, ignore_errors=True)
        (beside / "_delta_log").mkdir(parents=True)
        for path in (table / "_delta_log").glob("*"):
            os.link(path, beside / "_delta_log" / path.name)
        yield beside
        changed = {key: path for key, path in self.files().items() if self._is_changed(key, path)}
        last = {key: path for key, path in changed.items() if key.startswith(f"{self.runs}/")}
        last |= {
            f"{self.runs}/{path.relative_to(beside).as_posix()}": path
            for path in beside.rglob("*")
            if path.is_file() and _is_of_a_table(path.name) and not _is_linked(path, table / path.relative_to(beside))
        }
        self._put({key: path for key, path in changed.items() if key not in last} | self._reports())
        self._put(last)
        self._lease.recorded = True
        note_unpublished(self.home)
        for key in sorted(last, key=lambda key: (is_log(key), turn(key))):
            target = self.home.root / key
            target.parent.mkdir(parents=True, exist_ok=True)
            last[key].replace(target)
        self.save()
        self._delete("tables")

    def _reports(self) -> dict[str, Path]:
        """Pages of this run that the bucket has not, or has otherwise."""
        own = [run for run in (self.home.reports / self.catalog).glob("*") if run.name not in self._before]
        files = [path for run in own for path in run.rglob("*") if path.is_file()]
        found = {path.relative_to(self.home.root).as_posix(): path for path in files}
        return {key: path for key, path in found.items() if self._is_changed(key, path)}

    def _is_changed(self, key: str, path: Path) -> bool:
        if not _is_of_a_table(path.name) and key.startswith("tables/"):
            return False
        known = self.known.get(key)
        return known is None or (known.size, known.changed) != size_and_time(path)

    def _put(self, files: dict[str, Path]) -> None:
        """Put files into the bucket: those that no log speaks of yet first, then commits in their order."""
        self._refuse_losses()
        self._delete("models")  # a model that a killed run left: this one's files take its names
        side_by_side(self._put_one, [(key, path) for key, path in files.items() if not is_log(key)])
        self._lease.renew()
        for key in sorted((key for key in files if is_log(key)), key=turn):
            self._put_one((key, files[key]))

    def _put_one(self, file: tuple[str, Path]) -> None:
        key, path = file
        self._lease.check()
        if is_data(key):
            etag = self.bucket.write(key, path)
        else:
            known = self.known.get(key)
            etag = self.bucket.put(key, path, None if known is None else known.etag)
        self.note(key, etag, path)

    @contextmanager
    def deleting(self, folder: Path) -> Iterator[None]:
        """What goes from a folder of the copy meanwhile goes on purpose, and from the bucket, too: that alone does."""
        before = set(folder.rglob("*"))
        yield
        gone = before - set(folder.rglob("*"))
        self._deleted |= {path.relative_to(self.home.root).as_posix() for path in gone}

    def _refuse_losses(self) -> None:
        """Raise TableDamaged where something else has deleted files of the copy that this run goes by."""
        here = self.files()
        self._deleted -= here.keys()  # written anew since
        copied = {key for key in self.known if not key.startswith("reports/")}  # which are put there alone
        lost = sorted(copied - here.keys() - self._deleted)
        if lost:
            raise TableDamaged(
                f"{len(lost)} file(s) of this machine's copy have gone during a run, the first is {lost[0]}",
                where=str(self.home.root),
                hint="see that nothing deletes files there; the bucket has them, and the next run fetches them. "
                "Nothing of this run is seen: run the same command again",
            )

    def _delete(self, part: str) -> None:
        """Delete from the bucket what this run has deleted from the copy on purpose."""
        going = [key for key in self._deleted if key.startswith(f"{part}/") and key in self.known]
        self.bucket.delete(going)
        for key in going:
            del self.known[key]
        self.save()


@contextmanager
def working(home: Home, catalog: str) -> Iterator[Working | None]:
    """Hold a catalogue of a home on S3 for a run: nobody else's run, and no reader of this machine, touches its copy.

    Of a home that is a folder: None, as there is nothing to hold.

    Raises:
        RunLocked: another machine's run did not end in time.
        HomeUnusable, HomeNewer: the bucket cannot be used.
    """
    if home.address is None:
        yield None
        return
    settings = get_settings()
    bucket = Bucket(home.address)
    check_home(bucket, make=True)
    with (
        leased(home.address, catalog, _id_of(home), lease_s=settings.lease_s, wait_s=settings.lock_wait_s) as lease,
        copying(home, catalog, COPYING_S),
    ):
        mirror = Working(home, bucket, catalog, lease)
        mirror.begin()
        yield mirror


def _id_of(home: Home) -> str:
    """A name that no other copy has."""
    path = home.root / "copy-id"
    if not path.is_file():
        write_atomically(path, secrets.token_hex(8))
    return path.read_text()


def _is_of_a_table(name: str) -> bool:
    """Whether a file in a table's folder belongs to it, by its name; what a killed write left has others."""
    return name == "_last_checkpoint" or (not name.startswith((".", "_")) and name.endswith((".json", ".parquet")))


def _is_linked(path: Path, other: Path) -> bool:
    return other.is_file() and path.samefile(other)
