"""Step: the files that a source names, fetched if they lie elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from catalogs import registry
from catalogs.known_lines import KnownLines
from catalogs.sources import SourceFile, resolve
from core.orchestration import step
from warehouse.lines import known_lines
from warehouse.registry import champion
from warehouse.runs import joined


@dataclass(frozen=True)
class FileJob:
    """One file to read, with its place in the order of files."""

    number: int
    file: SourceFile
    catalog: str
    staging: str
    need_label: bool
    bytes: int = 0
    """What it has now: what is appended while it is read is no part of what was found."""
    known: KnownLines | None = None


@step("find source", retries=2)
def find_source(run_id: str) -> list[FileJob]:
    """Files of the run's source in a fixed order. A download is tried again; a missing file is not."""
    run = joined(run_id)
    spec = registry.load(run.catalog)
    downloads = run.staging / "downloads"
    downloads.mkdir(exist_ok=True)
    files = resolve(run.source, spec, downloads)
    # With a champion, a file without labels is one to be categorised; without one, its label column was mistyped.
    need_label = champion(run) is None
    # Workers may be started in another folder.
    files = [replace(file, path=file.path.absolute()) for file in files]
    known = known_lines(run, spec)
    staging, sizes = str(run.staging / "rows"), [file.path.stat().st_size for file in files]
    return [
        FileJob(i, file, run.catalog, staging, need_label, bytes_, replace(known, first=i == 0))
        for i, (file, bytes_) in enumerate(zip(files, sizes, strict=True))
    ]
