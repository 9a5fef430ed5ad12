"""Files at https:// and s3:// addresses, streamed to a folder before they are read."""

from __future__ import annotations

import errno
import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from core.errors import DiskFull, SourceMissing, SourceUnreachable

if TYPE_CHECKING:
    import httpx
    from obstore.store import RetryConfig

__all__ = ["CHUNK_BYTES", "S3_HINT", "first_line", "s3_store", "stage"]

CHUNK_BYTES = 4 << 20
TIMEOUT_S = 60.0
ATTEMPTS = 3

WHOLE_S = 3_600.0
"""For one request to S3, its body included; one that stands still is given up after TIMEOUT_S."""

S3_HINT = (
    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL (http:// also needs "
    "AWS_ALLOW_HTTP=true), and the bucket's name"
)


def stage(address: str, staging: Path, *, wanted: Callable[[str], bool]) -> Iterator[tuple[Path, str, str]]:
    """Fetch what an address means: one file, or on S3 also all below a prefix or matching a glob.

    Args:
        address: https://, http:// or s3://.
        staging: an existing folder.
        wanted: which keys below an S3 prefix are to be fetched.

    Yields:
        Where the file lies, its address without query and password, and the name that tells its format.

    Raises:
        SourceMissing: nothing there.
        SourceUnreachable: no answer, no permission, or an address of another kind.
        DiskFull: no room for the file.
    """
    parts = urlsplit(address)
    if parts.scheme in {"https", "http"}:
        yield _fetch_http(address, staging)
    elif parts.scheme == "s3" and parts.netloc:
        yield from _fetch_s3(parts.netloc, unquote(parts.path).lstrip("/"), staging, wanted)
    else:
        hint = "name a file on this machine, or an https:// or s3:// address"
        raise SourceUnreachable("this kind of address is not read", where=address, hint=hint)


def _fetch_http(address: str, staging: Path) -> tuple[Path, str, str]:
    import httpx

    parts = urlsplit(address)
    shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with (
                httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as client,
                client.stream("GET", address) as response,
            ):
                _refuse_status(response, shown)
                name = _name_of(response)
                path = _target(staging, name)
                # Raw bytes: a .gz file that the server also declares as gzip content stays what it is.
                raw = response.headers.get("content-encoding", "identity") == "identity" or name.endswith(".gz")
                chunks = response.iter_raw(CHUNK_BYTES) if raw else response.iter_bytes(CHUNK_BYTES)
                _write(path, chunks, shown)
                return path, shown, name
        except (httpx.TransportError, httpx.TooManyRedirects, httpx.DecodingError) as error:
            if attempt == ATTEMPTS:
                hint = f"tried {ATTEMPTS} times: check the address and the network, or fetch the file yourself"
                text = f"does not answer: {error or type(error).__name__}"
                raise SourceUnreachable(text, where=shown, hint=hint) from error
        except httpx.InvalidURL as error:
            raise SourceUnreachable(f"not an address: {error}", where=shown, hint="check its spelling") from error
    raise AssertionError("the loop returns or raises")


def _refuse_status(response: httpx.Response, shown: str) -> None:
    status = response.status_code
    if status in {404, 410}:
        raise SourceMissing(f"nothing there (HTTP {status})", where=shown, hint="check the address")
    if status in {401, 403}:
        raise SourceUnreachable(f"may not be read (HTTP {status})", where=shown, hint="check your access to it")
    if not 200 <= status < 300:
        raise SourceUnreachable(
            f"answered with HTTP {status}", where=shown, hint="try later, or fetch the file yourself"
        )


def _name_of(response: httpx.Response) -> str:
    """The file's name: what the server calls it, else the end of the address after redirects."""
    given = re.search(r'filename="?([^";]+)', response.headers.get("content-disposition", ""))
    return PurePosixPath(given.group(1) if given else unquote(response.url.path)).name or "download"


def _fetch_s3(bucket: str, key: str, staging: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[Path, str, str]]:
    import obstore
    from obstore.exceptions import BaseError

    shown = f"s3://{bucket}/{key}"
    try:
        store = s3_store(bucket)
        keys = _keys(store, key, wanted)
        if not keys:
            hint = "check the bucket, the key and AWS_REGION"
            raise SourceMissing("nothing there that can be read", where=shown, hint=hint)
        for found in keys:
            name = f"s3://{bucket}/{found}"
            path = _target(staging, PurePosixPath(found).name)
            _write(path, obstore.get(store, found).stream(min_chunk_size=CHUNK_BYTES), name)
            yield path, name, found
    except FileNotFoundError as error:
        raise SourceMissing("nothing there", where=shown, hint="check the bucket, the key and AWS_REGION") from error
    except (BaseError, OSError) as error:
        raise SourceUnreachable(f"cannot be read: {first_line(error)}", where=shown, hint=S3_HINT) from error


def s3_store(bucket: str, prefix: str | None = None, *, request_s: float = WHOLE_S) -> Any:
    """A bucket, or what lies below a prefix of it, by the usual AWS_* variables.

    Args:
        bucket: its name.
        prefix: of all keys, which are then told without it.
        request_s: seconds for one request. Faults that pass are met with ATTEMPTS - 1 retries.
    """
    from obstore.store import S3Store

    patience = min(TIMEOUT_S, request_s)
    # Among the other options of the store: `client_options` would put those of the environment out of force.
    waits: Any = {"timeout": f"{request_s:.0f} s", "read_timeout": f"{patience:.0f} s"}
    retries: RetryConfig = {"max_retries": ATTEMPTS - 1, "retry_timeout": timedelta(seconds=patience)}
    return S3Store(bucket, prefix=prefix, config=waits, retry_config=retries)


def _keys(store: Any, key: str, wanted: Callable[[str], bool]) -> list[str]:
    """The key itself, else those that match it as a glob, else those below it as a folder."""
    import obstore

    pattern = re.search(r"[*?\[]", key)
    if pattern is None and key and not key.endswith("/"):
        try:
            obstore.head(store, key)
        except FileNotFoundError:
            pass
        else:
            return [key]
    prefix = key[: pattern.start()].rpartition("/")[0] if pattern else key.rstrip("/")
    below = [entry["path"] for page in obstore.list(store, prefix or None) for entry in page if entry["size"]]
    if pattern:
        return sorted(found for found in below if fnmatch.fnmatchcase(found, key))
    return sorted(found for found in below if wanted(found[len(prefix) :].lstrip("/")))


def _target(staging: Path, name: str) -> Path:
    """A fresh path for a file of that name; only its last part is used, whatever the server calls it."""
    number = sum(1 for _ in staging.iterdir())
    return staging / f"{number:04d}-{PurePosixPath(name).name[-100:]}"


def _write(path: Path, chunks: Iterable[Any], shown: str) -> None:
    try:
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        path.unlink(missing_ok=True)
        hint = f"make room in {path.parent}, or name the file's copy on this machine"
        raise DiskFull("no room left to fetch it", where=shown, hint=hint) from error


def first_line(error: Exception) -> str:
    """What an error says first."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
