"""A home on S3 and this machine's copy of it, kept in step: runs and readers work in the copy, as in any folder.

A run takes the catalogue's lease, makes the copy equal to the bucket, and works. What it wrote is put into the bucket
when it is recorded: files first, commits of its tables behind them, and the commit of the table `runs` last, by which
it is seen (see `working`). Readers fetch what recorded runs left: they list the log of runs first, and put it in place
last.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import HomeUnusable, RunLocked, RunOvertaken, TableDamaged
from core.settings import get_settings
from warehouse.bucket import Bucket, Stored, Vanished
from warehouse.home import SCHEMA_VERSION, Home, check_marker, write_atomically
from warehouse.locks import locked
from warehouse.losses import is_another, named_by_last_run
from warehouse.publish import note_unpublished, publish, unpublished
from warehouse.recorded import recorded_runs

log = logging.getLogger("aisle.home")

_told: set[str] = set()
"""What this process has warned of."""

ATTEMPTS = 5
"""Times that a listing is made anew because it changed under the hands."""

COPYING_S = 24 * 3_600.0
"""Runs of this machine, and readers with nothing to read yet, wait so long for another's copying: it ends by itself."""

READING_S = 2.0
"""Readers with something to read wait so long: mostly there is nothing new, and whoever looks is done by then."""

DAY_S = 24 * 3_600


@dataclass
class Copied:
    """What is known of a file that is the same in the bucket and here.

    Attributes:
        etag: of the object.
        size: of the file, in bytes.
        changed: the file's time of change, in ns.
        gone: when the object was first missed, in seconds since 1970: who reads an older state may still need the file.
    """

    etag: str
    size: int
    changed: int
    gone: float | None = None


class Mirror:
    """One catalogue of a home on S3 and its copy. Whoever has one holds the lock of the copy."""

    def __init__(self, home: Home, bucket: Bucket, catalog: str) -> None:
        self.home, self.bucket, self.catalog = home, bucket, catalog
        self.runs = f"tables/{catalog}/runs"
        self._noted = home.root / "mirrored" / f"{catalog}.json"
        self._named: set[str] = set()
        self.known = {key: Copied(**facts) for key, facts in _read_json(self._noted).items()}

    def is_behind(self) -> bool:
        """Whether runs were recorded that the copy does not know of, at the price of listing the end of one log."""
        log = f"{self.runs}/_delta_log"
        newest = max((key for key in self.known if _is_commit(key) and key.startswith(f"{log}/")), default="")
        later = [one for one in self.bucket.below(log, newest[:-1] or None) if _is_commit(one.key)]
        if not newest:
            return bool(later)
        if not (self.home.root / newest).is_file():  # somebody has tidied here
            return True
        return [(one.key, one.etag) for one in later] != [(newest, self.known[newest].etag)]

    def pull(self) -> None:
        """Make the copy equal to the bucket.

        Raises:
            HomeUnusable: the bucket does not answer, or goes on changing.
            TableDamaged: the bucket has lost what recorded runs are read by; the copy is left as it is.
        """
        for _ in range(ATTEMPTS):
            try:
                return self._pull()
            except Vanished:
                continue
        raise HomeUnusable("changes faster than it can be read", where=self.bucket.address, hint="try again later")

    def _pull(self) -> None:
        # What a run refers to was there before the run was: so everything else is listed after the runs.
        runs = self.bucket.below(self.runs)
        others = [*self.bucket.below(f"tables/{self.catalog}"), *self.bucket.below(f"models/{self.catalog}")]
        listed = {one.key: one for one in others if not self._is_of_runs(one.key)}
        listed |= {one.key: one for one in runs}
        here = self.files()
        self._refuse_lost_logs(listed, here)
        if not listed:
            self._drop()
            return
        wanted = [one for key, one in listed.items() if not self._is_same(one, here.get(key))]
        leftovers = [key for key in here if key not in listed and not self._is_kept(key)]
        if wanted or leftovers:
            note_unpublished(self.home)
            self._exchange(wanted, leftovers)
        self.known = {key: known for key, known in self.known.items() if key in listed or key in here}
        self.save()

    def _refuse_lost_logs(self, listed: Mapping[str, Stored], here: Mapping[str, Path]) -> None:
        """Look whether the bucket has lost something that is here, and note what must not go from here for that."""
        self._named = set()
        missing = {key for key in here if key in self.known and key not in listed}
        there = {key: one.etag for key, one in listed.items() if self._is_run(key)}
        then = {key: known.etag for key, known in self.known.items() if self._is_run(key)}
        if not missing or is_another(there, then):
            return
        self._named = named_by_last_run(self.home, self.catalog)
        lost = sorted(key for key in missing if is_log(key) and (key in self._named or self._is_run(key)))
        if lost:
            raise TableDamaged(
                f"{len(lost)} file(s) of {self.catalog}'s logs are missing in the bucket, the first is {lost[0]}; "
                "this machine still has its copy, as it was before",
                where=f"{self.bucket.address}/tables/{self.catalog}",
                hint=f"put them back from a backup, or from {self.home.root}; to be rid of the catalogue for good, "
                "delete it in that folder too",
            )

    def _is_run(self, key: str) -> bool:
        return self._is_of_runs(key) and _is_commit(key)

    def _is_of_runs(self, key: str) -> bool:
        return key.startswith(f"{self.runs}/")

    def _exchange(self, wanted: list[Stored], leftovers: list[str]) -> None:
        """Fetch files, and put them in the place of others.

        People may read meanwhile, at versions that both have: no log has a gap at any moment, and `runs` comes last.
        """
        fetching = self.home.root / "fetching" / self.catalog
        parts = [(one, fetching / one.key) for one in wanted]
        # A copying that was killed has left whole files there, which need not be fetched again.
        self.bucket.fetch([(one, path) for one, path in parts if not (is_data(one.key) and _has_size(path, one.size))])
        logs = [one for one in wanted if is_log(one.key)]
        self._place([one for one in wanted if not is_log(one.key)], fetching)
        self._remove(sorted((key for key in leftovers if is_log(key)), key=turn, reverse=True))
        self._place(sorted(logs, key=lambda one: (self._is_of_runs(one.key), turn(one.key))), fetching)
        self._remove([key for key in leftovers if not is_log(key)])
        shutil.rmtree(fetching, ignore_errors=True)

    def _drop(self) -> None:
        """There is nothing of this catalogue in the bucket, and nothing here that was ever recorded."""
        note_unpublished(self.home)
        for folder in (self.home.root / "tables" / self.catalog, self.home.models(self.catalog)):
            shutil.rmtree(folder, ignore_errors=True)
        self.known = {}
        self.save()

    def files(self) -> dict[str, Path]:
        """Files of the copy by key."""
        found: dict[str, Path] = {}
        for part in ("tables", "models"):
            for path in (self.home.root / part / self.catalog).rglob("*"):
                if path.is_file():
                    found[path.relative_to(self.home.root).as_posix()] = path
        return found

    def _is_same(self, one: Stored, path: Path | None) -> bool:
        if path is None:
            return False
        known = self.known.get(one.key)
        if known is not None and (known.etag, known.size, known.changed) == (one.etag, *size_and_time(path)):
            known.gone = None
            return True
        if is_data(one.key) and path.stat().st_size == one.size:  # its name is its alone
            self.note(one.key, one.etag, path)
            return True
        return False

    def _is_kept(self, key: str) -> bool:
        """Whether a file that the bucket no longer has stays: while it may be read, or because it is lost there."""
        known = self.known.get(key)
        if known is None or not (is_data(key) or key in self._named):
            return False
        known.gone = known.gone or time.time()
        return key in self._named or time.time() - known.gone < get_settings().retention_days * DAY_S

    def _place(self, fetched: list[Stored], fetching: Path) -> None:
        for one in fetched:
            path = self.home.root / one.key
            path.parent.mkdir(parents=True, exist_ok=True)
            (fetching / one.key).replace(path)
            self.note(one.key, one.etag, path)

    def _remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            (self.home.root / key).unlink(missing_ok=True)
            self.known.pop(key, None)

    def note(self, key: str, etag: str, path: Path) -> None:
        """Note that a file is the same here and in the bucket."""
        self.known[key] = Copied(etag, *size_and_time(path))

    def save(self) -> None:
        """Write down what is known."""
        self._noted.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._noted, json.dumps({key: asdict(known) for key, known in self.known.items()}))

    def gone(self) -> set[Path]:
        """Files that were copied, and are no longer in the bucket."""
        return {self.home.root / key for key, known in self.known.items() if known.gone is not None}


def refresh(home: Home, within_s: float = 0.0) -> None:
    """Bring this machine's copy of a home on S3 up to what is recorded there, for people to read.

    A catalogue that a run of this machine has in its hands is left alone: it is read as last published. So is all of
    the home while another process copies, and a catalogue of which the bucket has lost the logs; both are warned of.

    Args:
        home: the home; there is nothing to do for a folder.
        within_s: do nothing when somebody has done it in the last so many seconds.

    Raises:
        HomeUnusable, HomeNewer: the bucket cannot be used.
    """
    looked = home.root / "looked"
    if home.address is None or (within_s and looked.exists() and time.time() - looked.stat().st_mtime < within_s):
        return
    home.prepare()
    bucket = Bucket(home.address)
    is_readable = looked.exists() and home.database.is_file()
    with ExitStack() as held:
        try:
            wait_s = READING_S if is_readable else COPYING_S
            held.enter_context(locked(home.lock("refresh"), wait_s=wait_s, what="copying from the bucket"))
        except RunLocked:
            if not is_readable:
                raise
            _warn(f"another process is copying from {home.address}: until it is done, what it had before is read")
            return
        check_home(bucket)
        for catalog in sorted({*home.catalogs(), *bucket.folders("tables")}):
            try:
                with copying(home, catalog, 0):
                    mirror = Mirror(home, bucket, catalog)
                    if mirror.is_behind():
                        mirror.pull()
            except RunLocked:
                continue
            except TableDamaged as error:
                _warn(f"{catalog} is read as it was: {error}")
        if unpublished(home):
            publish(home)
        looked.touch()


def _warn(text: str) -> None:
    """Say it once: servers look every few seconds."""
    if text not in _told:
        _told.add(text)
        log.warning("%s", text)


def fetch_reports(home: Home) -> None:
    """Fetch the pages of all recorded runs of a home on S3 that are not here yet."""
    if home.address is None:
        return
    bucket = Bucket(home.address)
    for catalog in home.catalogs():
        recorded = set(recorded_runs(home, catalog)["run_id"])
        pages = [one for one in bucket.below(f"reports/{catalog}") if one.key.split("/")[2] in recorded]
        here = [(one, home.root / one.key) for one in pages]
        bucket.fetch([(one, path) for one, path in here if not _has_size(path, one.size)])


def lost(home: Home, catalog: str) -> set[Path]:
    """Files of the copy that the bucket had, and has no longer, after comparing all; none while a run is at work."""
    if home.address is None:
        return set()
    try:
        with copying(home, catalog, 0):
            mirror = Mirror(home, Bucket(home.address), catalog)
            mirror.pull()
            return mirror.gone()
    except RunLocked:
        return set()


@contextmanager
def copying(home: Home, catalog: str, wait_s: float) -> Iterator[None]:
    """Hold the lock of a catalogue's copy."""
    with locked(home.lock(f"copy-{catalog}"), wait_s=wait_s, what=f"copying of {catalog}"):
        yield


def check_home(bucket: Bucket, *, make: bool = False) -> None:
    """Check that what lies in the bucket is of a version that this Aisle knows; `make` a home where there is none.

    Raises:
        HomeNewer: it is not.
        HomeUnusable: the bucket does not heed conditions, without which no lock and no commit would hold.
    """
    key = "home.json"
    found = bucket.read(key)
    if found is not None:
        check_marker(found[0].decode(errors="replace"), where=f"{bucket.address}/{key}")
    elif make:
        made = json.dumps({"schema_version": SCHEMA_VERSION}).encode() + b"\n"
        bucket.put(key, made, None)
        try:
            bucket.put(key, made + b"\n", None)
        except RunOvertaken:
            return
        bucket.delete([key])
        raise HomeUnusable(
            "this store does not heed `If-None-Match`, so two runs could overwrite each other's work",
            where=bucket.address,
            hint="use one that does: Amazon S3, MinIO, Cloudflare R2, Ceph and others do in their newer versions",
        )


def is_log(key: str) -> bool:
    """Whether it is a file of a table's log."""
    return "/_delta_log/" in key


def _is_commit(key: str) -> bool:
    return is_log(key) and key.endswith(".json")


def is_data(key: str) -> bool:
    """Whether it is a Parquet file of a table: each has a name of its own, and is never changed."""
    return key.startswith("tables/") and key.endswith(".parquet") and not is_log(key)


def turn(key: str) -> tuple[bool, bool, str]:
    """The order of a log's files: commits, then what is read in place of many of them."""
    name = key.rpartition("/")[2]
    return name == "_last_checkpoint", not name.endswith(".json"), name


def size_and_time(path: Path) -> tuple[int, int]:
    """Of a file: its bytes, and when it was changed, in ns."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _read_json(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found
