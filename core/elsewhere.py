"""A function on its way to another process, maybe on another machine: what it takes along, and what must hold there.

It takes the settings of the process that sends it, so that a worker needs none of its own and no result depends on
where it was made. It works only beside the same library versions, and where the sender's files are to be seen.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from core.errors import NotShared, SourceMissing, WorkerDiffers
from core.settings import Settings, get_settings

_DECISIVE = ("aisle", "polars", "numpy", "scipy", "scikit-learn", "deltalake")
"""Packages on which results depend."""


@dataclass(frozen=True)
class Sent:
    """The function of a step, by its name, so that little travels.

    Attributes:
        module: where the step is found.
        name: what it is called there.
        settings: the sender's.
        versions: the sender's.
        proof: a file of the sender's with a name that nobody else makes. Who sees it sees the sender's files.
    """

    module: str
    name: str
    settings: Settings
    versions: dict[str, str]
    proof: Path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work, if it can be done here.

        Raises:
            WorkerDiffers: this worker has other versions than the sender.
            NotShared: it does not see the sender's files.
        """
        here = f"worker on {socket.gethostname()}, process {os.getpid()}"
        if differing := [
            f"{name} {versions()[name]}, not {v}" for name, v in self.versions.items() if versions()[name] != v
        ]:
            raise WorkerDiffers(
                f"it has {'; '.join(differing)}", where=here, hint="install the same lock there as here, and restart it"
            )
        if not self.proof.is_file():
            raise _not_shared(self.proof.parent, here)
        own = self.settings.catalogs
        if own is not None and not own.is_dir():
            raise _not_shared(own, here)
        try:
            with get_settings.sent(self.settings):
                return getattr(import_module(self.module), self.name).fn(*args, **kwargs)
        except FileNotFoundError as error:
            raise _not_shared(error.filename or error, here) from error
        except SourceMissing as error:  # the sender has found it
            raise _not_shared(error.where or error, here) from error


@contextmanager
def sent(module: str, name: str, shared: Path) -> Iterator[Sent]:
    """A step's function to send to workers, which have to see the folder `shared`."""
    settings = get_settings()
    absolute = settings.model_copy(
        update={
            "home": settings.home if "://" in settings.home else str(Path(settings.home).expanduser().absolute()),
            "cache": None if settings.cache is None else settings.cache.expanduser().absolute(),
            "catalogs": None if settings.catalogs is None else settings.catalogs.expanduser().absolute(),
            "api_keys": None,  # no step needs the secrets
            "webhook": None,
        }
    )
    proof = shared.absolute() / f".seen-{secrets.token_hex(8)}"
    proof.touch()
    try:
        yield Sent(module, name, absolute, versions(), proof)
    finally:
        proof.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """What decides results in this process."""
    return {"Python": ".".join(platform.python_version_tuple()[:2])} | {name: _version(name) for name in _DECISIVE}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _not_shared(what: object, here: str) -> NotShared:
    return NotShared(
        f"it does not see {what}",
        where=here,
        hint="workers need AISLE_HOME (AISLE_CACHE of a home on S3), AISLE_CATALOGS and the source on a "
        "shared file system, at the same paths",
    )
