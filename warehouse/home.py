"""AISLE_HOME: where everything lies, and whether it can be used."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import AisleError, DiskFull, HomeNewer, HomeUnusable
from core.settings import get_settings

SCHEMA_VERSION = 1

_NO_SPACE = ("no space left", "os error 28", "requested and")
"""How libraries say that a disk is full; the last is NumPy: `4096 requested and 1024 written`."""


@dataclass(frozen=True)
class Home:
    """The folders of one AISLE_HOME. Making one touches nothing on disk; `prepare` does."""

    root: Path

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
        """Catalogues that have tables here."""
        folder = self.root / "tables"
        return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []

    def models(self, catalog: str) -> Path:
        """Model artifacts of one catalogue, a folder a version."""
        return self.root / "models" / catalog

    def run_reports(self, catalog: str, run_id: str) -> Path:
        """Reports of one run."""
        return self.reports / catalog / run_id

    def staging(self, catalog: str) -> Path:
        """Work in progress of the run that holds the catalogue's lock; the next run deletes what is left in it."""
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
                hint="set AISLE_HOME to a folder that this user may write",
            ) from error
        self.check()
        if not os.access(self.root, os.W_OK):
            raise HomeUnusable("cannot be written", where=str(self.root), hint="set AISLE_HOME to a writable folder")
        return self

    def check(self) -> Home:
        """Raise HomeNewer, or HomeUnusable when the marker cannot be read."""
        marker = self.root / "home.json"
        try:
            version = int(json.loads(marker.read_text())["schema_version"]) if marker.exists() else SCHEMA_VERSION
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(
                "is not a readable marker of a home", where=str(marker), hint="restore it, or move this home away"
            ) from error
        if version > SCHEMA_VERSION:
            raise HomeNewer(
                f"was written by a newer Aisle (schema {version}, this one knows {SCHEMA_VERSION})",
                where=str(self.root),
                hint="update Aisle, or point AISLE_HOME elsewhere",
            )
        return self


def get_home() -> Home:
    """The home that AISLE_HOME names.

    Raises:
        HomeUnusable: an address, or a path with characters that the libraries below read as patterns.
    """
    named = get_settings().home
    if "://" in named:
        raise HomeUnusable("a home has to be a folder for now", where=named, hint="set AISLE_HOME to a folder")
    root = Path(named).expanduser().absolute()
    if odd := sorted(set(str(root)) & set("[]*?%")):
        raise HomeUnusable(
            f"its path holds {' '.join(odd)}, which table readers take for patterns",
            where=str(root),
            hint="set AISLE_HOME to a folder without these characters in its path",
        )
    return Home(root)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that readers see the old text or the new one, never half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


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
            raise HomeUnusable(
                "cannot be written", where=str(where), hint="set AISLE_HOME to a writable folder"
            ) from error
        raise
