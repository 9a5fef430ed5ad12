"""The objects of a home on S3: listed, fetched, and written so that nobody's write replaces another's unseen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from catalogs.remote import CHUNK_BYTES, S3_HINT, WHOLE_S, first_line, s3_store
from core.errors import AisleError, HomeUnusable, RunOvertaken

SIDE_BY_SIDE = 16
"""Objects fetched or put at once: most are small, and their time is the way there and back."""

AGAIN = "nothing of this run is seen; run the same command again"

T = TypeVar("T")

_DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "Forbidden")


@dataclass(frozen=True)
class Stored:
    """An object as it is listed; `key` is relative to the home."""

    key: str
    etag: str
    size: int
    modified: datetime


class Vanished(Exception):
    """An object is not, or no longer, what was listed: list again."""


class Bucket:
    """A home's part of a bucket. Every fault is a HomeUnusable that names the address.

    Args:
        address: s3://bucket or s3://bucket/prefix.
        request_s: seconds for one request.
    """

    def __init__(self, address: str, *, request_s: float = WHOLE_S) -> None:
        self.address = address
        name, _, prefix = address.removeprefix("s3://").partition("/")
        self._store = s3_store(name, prefix or None, request_s=request_s)

    def below(self, folder: str, after: str | None = None) -> list[Stored]:
        """All objects below a folder, in the order of their keys; only those with keys behind `after`."""
        import obstore

        with self._naming_faults():
            found = [_stored(one) for page in obstore.list(self._store, folder, offset=after) for one in page]
        return sorted(found, key=lambda one: one.key)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""
        import obstore

        with self._naming_faults():
            found = obstore.list_with_delimiter(self._store, folder)["common_prefixes"]
        return sorted(str(path).rpartition("/")[2] for path in found)

    def read(self, key: str) -> tuple[bytes, Stored] | None:
        """A small object; None where there is none."""
        import obstore

        with self._naming_faults():
            try:
                got = obstore.get(self._store, key)
                return bytes(got.bytes()), _stored(got.meta)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def fetch(self, wanted: list[tuple[Stored, Path]]) -> None:
        """Fetch objects as they were listed, each to its path; their folders are made, their times are the bucket's.

        Raises:
            Vanished: one of them is no longer what was listed.
        """
        side_by_side(lambda pair: self._fetch(*pair), wanted)

    def _fetch(self, one: Stored, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in self._chunks(one):
                file.write(chunk)
        os.utime(path, (one.modified.timestamp(),) * 2)

    def _chunks(self, one: Stored) -> Iterator[Any]:
        import obstore
        from obstore.exceptions import PreconditionError

        with self._naming_faults():
            try:
                yield from obstore.get(self._store, one.key, options={"if_match": one.etag}).stream(CHUNK_BYTES)
            except (FileNotFoundError, PreconditionError) as error:
                raise Vanished(one.key) from error

    def put(self, key: str, data: bytes | Path, over: str | None) -> str:
        """Write an object on a condition: there is none yet, or it is still the one with the etag `over`.

        Returns:
            Its etag.

        Raises:
            RunOvertaken: somebody else has written it.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        content = data.read_bytes() if isinstance(data, Path) else data
        with self._naming_faults():
            try:
                mode: Any = "create" if over is None else {"e_tag": over}
                return str(obstore.put(self._store, key, content, mode=mode)["e_tag"])
            except (AlreadyExistsError, PreconditionError) as error:
                # An answer may have been lost on its way: then the write that was in the way was our own.
                found = self.read(key)
                if found is not None and found[0] == content:
                    return found[1].etag
                raise RunOvertaken(
                    "was written by another run meanwhile", where=f"{self.address}/{key}", hint=AGAIN
                ) from error

    def write(self, key: str, data: bytes | Path) -> str:
        """Write an object of any size, whatever is there; returns its etag."""
        import obstore

        with self._naming_faults():
            return str(obstore.put(self._store, key, data)["e_tag"])

    def delete(self, keys: list[str]) -> None:
        """Delete objects; those that are gone already too."""
        import obstore

        if keys:
            with self._naming_faults():
                obstore.delete(self._store, keys)

    @contextmanager
    def _naming_faults(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (AisleError, Vanished):
            raise
        except (BaseError, OSError) as error:
            text = str(error)
            what = f"cannot be reached: {first_line(error)}"
            if "NoSuchBucket" in text:
                what = "there is no such bucket"
            elif type(error).__name__ in {"PermissionDeniedError", "UnauthenticatedError"} or any(
                sign in text for sign in _DENIED
            ):
                what = f"these credentials may not do this: {first_line(error)}"
            raise HomeUnusable(what, where=self.address, hint=S3_HINT) from error


def _stored(meta: Any) -> Stored:
    return Stored(meta["path"], meta["e_tag"] or "", meta["size"], meta["last_modified"])


def side_by_side(work: Callable[[T], None], on: list[T]) -> None:
    """Do the same to many things at once; the first error is raised, and what has not begun by then is left."""
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="bucket") as pool:
        try:
            for _ in pool.map(work, on):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
