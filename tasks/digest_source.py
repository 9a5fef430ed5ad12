"""Step: the digest by which a run's source is known again."""

from __future__ import annotations

import hashlib

from catalogs.sources import SourceFile
from core.orchestration import step
from tasks.find_source import FileJob

_CHUNK = 1 << 20


@step("digest source", retries=2)
def digest_source(files: list[FileJob]) -> str:
    """Hex sha256 of what a source's files had when they were found, in their order; of one, what `sha256sum` says.

    Reading sees all of that: what is appended meanwhile makes it another file. A flow makes the digest beside
    reading, so nobody waits for it.
    """
    digest = hashlib.sha256()
    for job in files:
        _add(digest, job.file, job.bytes)
    return digest.hexdigest()


def digest_of(file: SourceFile) -> str:
    """`digest_source` of one file as it is now."""
    digest = hashlib.sha256()
    _add(digest, file, file.path.stat().st_size)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, file: SourceFile, left: int) -> None:
    with file.path.open("rb") as stream:
        while chunk := stream.read(min(_CHUNK, left)):
            digest.update(chunk)
            left -= len(chunk)
