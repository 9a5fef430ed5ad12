"""Step: the files that a source names, fetched if they lie elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs import registry
from catalogs.sources import SourceFile, resolve
from core.orchestration import step
from warehouse.runs import joined


@dataclass(frozen=True)
class FileJob:
    """One file to read, with its place in the order of files."""

    number: int
    file: SourceFile
    catalog: str
    staging: str


@step("find source", retries=2)
def find_source(run_id: str) -> list[FileJob]:
    """Files of the run's source in a fixed order. A download is tried again; a missing file is not."""
    run = joined(run_id)
    spec = registry.load(run.catalog)
    files = resolve(run.source, spec, run.staging / "downloads")
    return [FileJob(i, file, run.catalog, str(run.staging / "rows")) for i, file in enumerate(files)]
