"""Step: the digest by which a run's source is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from catalogs.sources import SourceFile
from core.orchestration import step
from tasks.find_source import FileJob

_CHUNK = 1 << 20


@step("digest source")
def digest_source(files: list[FileJob]) -> str:
    """The sha256 of a source's files. It takes a second a gigabyte, and nobody waits for it: a flow runs it beside."""
    return digest_of(job.file for job in files)


def digest_of(files: Iterable[SourceFile]) -> str:
    """Hex sha256 of the content of files in their order; of one file, what `sha256sum` says of it."""
    digest = hashlib.sha256()
    for file in files:
        with file.path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
