"""AISLE_HOME: where everything lies, and whether it can be used.

A home is a folder. One on S3 has a folder too: this machine's copy of it, which `mirror` keeps in step.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalogs.spec import NAME
from core.errors import AisleError, DiskFull, HomeNewer, HomeUnusable
from core.settings import get_settings

SCHEMA_VERSION = 1

DIGEST_CHARS = 16
"""Of an address' sha256, as the name of its copy's folder."""

CHANGE_FOLDER = "set AISLE_HOME (AISLE_CACHE for a home on S3) to a folder that this user may write"

_NO_SPACE = ("no space left", "os error 28", "requested and")
"""How libraries say that a disk is full; the last is NumPy: `4096 requested and 1024 written`."""


@dataclass(frozen=True)
class Home:
    """The folders of one AISLE_HOME. Making one touches nothing on disk; `prepare` does.

    Attributes:
        root: the folder; of a home on S3, this machine's copy.
        address: s3://bucket/prefix; None of a folder.
    """

    root: Path
    address: str | None = None

    @property
    def name(self) -> str:
        """What AISLE_HOME has to be to name this home."""
        return self.address or str(self.root)

    @property
    def database(self) -> Path:
        """The DuckDB file of views that people query."""
        return self.root / "warehouse.duckdb"

    @property
    def reports(self) -> Path:
        """Reports for eyes, all catalogues."""
        return self.root / "reports"

    def table(self, catalog: str, kind: str) -> Path:
        """The Delta table of one catalogue and kind."""
        return self.root / "tables" / catalog / kind

    def catalogs(self) -> list[str]:
        """Catalogues that have tables here. A folder that can be none by its name is somebody's: `tables/shop.bak`."""
        folder = self.root / "tables"
        return (
            sorted(p.name for p in folder.iterdir() if p.is_dir() and re.match(NAME, p.name)) if folder.is_dir() else []
        )

    def models(self, catalog: str) -> Path:
        """Model artifacts of one catalogue, a folder a version."""
        return self.root / "models" / catalog

    def run_reports(self, catalog: str, run_id: str) -> Path:
        """Reports of one run."""
        return self.reports / catalog / run_id

    def staging(self, catalog: str) -> Path:
        """Work in progress of a catalogue, a folder a run; the next run deletes what others have left in it."""
        return self.root / "staging" / catalog

    def lock(self, name: str) -> Path:
        """A lock file."""
        return self.root / "locks" / f"{name}.lock"

    def prepare(self) -> Home:
        """Make the home and check that it can be written and is of a version this Aisle knows.

        Raises:
            HomeUnusable: it cannot be made or written.
            HomeNewer: a newer Aisle wrote it.
        """
        marker = self.root / "home.json"
        try:
            with naming_disk_errors(self.root):
                (self.root / "locks").mkdir(parents=True, exist_ok=True)
                if not marker.exists():
                    write_atomically(marker, json.dumps({"schema_version": SCHEMA_VERSION}) + "\n")
        except OSError as error:
            raise HomeUnusable(
                f"cannot be written ({error.strerror})",
                where=str(self.root),
                hint=CHANGE_FOLDER,
            ) from error
        self.check()
        if not os.access(self.root, os.W_OK):
            raise HomeUnusable("cannot be written", where=str(self.root), hint=CHANGE_FOLDER)
        return self

    def require_writable(self) -> None:
        """Raise HomeUnusable for a folder that is there and that this user, or this mount, cannot write."""
        try:
            tempfile.TemporaryFile(dir=self.root).close()
        except FileNotFoundError:
            return  # it is still to be made
        except OSError as error:
            raise HomeUnusable(
                f"cannot be written ({error.strerror})", where=str(self.root), hint=CHANGE_FOLDER
            ) from error

    def check(self) -> Home:
        """Raise HomeNewer, or HomeUnusable when the marker cannot be read."""
        marker = self.root / "home.json"
        if marker.exists():
            try:
                text = marker.read_text()
            except (OSError, ValueError):
                text = ""
            check_marker(text, where=str(marker) if self.address is None else self.address)
        return self


def check_marker(text: str, where: str) -> None:
    """Check what a home's `home.json` says.

    Raises:
        HomeNewer: a newer Aisle wrote it.
        HomeUnusable: nobody can tell.
    """
    try:
        version = int(json.loads(text)["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise HomeUnusable(
            "is not a readable marker of a home",
            where=where,
            hint="restore home.json; or delete that file, unless a newer Aisle wrote it: the next run writes it anew",
        ) from error
    if version > SCHEMA_VERSION:
        raise HomeNewer(
            f"was written by a newer Aisle (schema {version}, this one knows {SCHEMA_VERSION})",
            where=where,
            hint="update Aisle, or point AISLE_HOME elsewhere",
        )


def get_home(*, fresh: bool = True) -> Home:
    """The home that AISLE_HOME names.

    Args:
        fresh: of a home on S3, first bring this machine's copy up to date, as readers need it.

    Raises:
        HomeUnusable: an address that is none, a bucket that does not answer, or a path with characters that the
            libraries below read as patterns.
        HomeNewer: a newer Aisle wrote what is in the bucket.
    """
    named = get_settings().home
    if "://" in named:
        home = _on_s3(named)
        if fresh:
            from warehouse.mirror import refresh  # it builds on this module

            refresh(home)
        return home
    return Home(_unlike_a_pattern(Path(named), "AISLE_HOME"))


def _on_s3(address: str) -> Home:
    scheme, _, rest = address.partition("://")
    address = f"{scheme}://{rest.strip('/')}"
    if scheme != "s3" or not rest.strip("/"):
        raise HomeUnusable(
            "is no home: it has to be a folder, or s3://bucket/prefix", where=address, hint="set AISLE_HOME to one"
        )
    caches = get_settings().cache or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "aisle"
    place = f"{os.environ.get('AWS_ENDPOINT_URL', '')} {address}"  # buckets of two stores may have one name
    digest = hashlib.sha256(place.encode()).hexdigest()[:DIGEST_CHARS]
    return Home(_unlike_a_pattern(caches, "AISLE_CACHE") / digest, address)


def _unlike_a_pattern(path: Path, setting: str) -> Path:
    root = path.expanduser().absolute()
    if odd := sorted(set(str(root)) & set("[]*?%")):
        raise HomeUnusable(
            f"its path holds {' '.join(odd)}, which table readers take for patterns",
            where=str(root),
            hint=f"set {setting} to a folder without these characters in its path",
        )
    return root


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see the old text or the new one, never half."""
    with beside(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # a power cut may leave a renamed file empty, and a home is none without its marker


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` at the end: nobody reads half, whoever else writes it too."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def naming_disk_errors(where: Path) -> Iterator[None]:
    """Turn a full disk or a refused write, from whatever library, into a named error."""
    try:
        yield
    except AisleError:
        raise
    except Exception as error:
        text = str(error).lower()
        if getattr(error, "errno", None) == errno.ENOSPC or any(sign in text for sign in _NO_SPACE):
            raise DiskFull(
                "no room left on the disk; nothing of this run was published",
                where=str(where),
                hint="free some room and run the same command again",
            ) from error
        if getattr(error, "errno", None) in {errno.EACCES, errno.EROFS} or "read-only file system" in text:
            raise HomeUnusable("cannot be written", where=str(where), hint=CHANGE_FOLDER) from error
        raise
