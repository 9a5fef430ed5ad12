"""Step: read one file, decide every row, and stage what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from catalogs import registry
from catalogs.normalise import normalise
from catalogs.readers import read
from catalogs.spec import CatalogSpec
from core.orchestration import step
from core.settings import get_settings
from expectations.decide import decide
from expectations.sample import Sample
from reports.validation import ColumnProfile, profile
from tasks.find_source import FileJob
from warehouse.ingest import Stage, Staged

PROFILED_ROWS = 10_000
"""Rows at the start of a file from which its columns are described on the validation page."""


@dataclass
class FileRead:
    """What reading one file gave, beside the rows it staged."""

    staged: Staged
    sample: Sample
    """Rows for the Great Expectations suite."""
    failed: Counter[str] = field(default_factory=Counter)
    """Rows that broke a rule, by the rule's name."""
    columns: list[ColumnProfile] = field(default_factory=list)


@step("read file")
def read_file(job: FileJob) -> FileRead:
    """Read a file batch by batch; bad rows are staged as rejects with every reason, good ones as products."""
    spec = registry.load(job.catalog)
    settings = get_settings()
    stage = Stage(Path(job.staging), job.number)
    found = FileRead(Staged(job.file.name, 0, 0, {}), Sample(spec, settings.seed + job.number))
    counts: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    for batch in read(job.file, spec, settings.batch_rows, need_label=job.need_label):
        if not found.columns:
            found.columns = _profile(batch.frame.head(PROFILED_ROWS), spec)
        frame = normalise(batch.frame, spec, job.file.name)
        decided = decide(frame, spec)
        found.sample.add(frame)
        rejects = stage.rejects_of(job.file.name, batch.rejects, decided.rejects)
        stage.write(decided.good, rejects)
        counts.update(read=batch.read, rejected=rejects.height)
        warnings.update(decided.warnings)
        found.failed.update(decided.failed)
    found.staged = Staged(job.file.name, counts["read"], counts["rejected"], dict(warnings))
    return found


def _profile(frame: pl.DataFrame, spec: CatalogSpec) -> list[ColumnProfile]:
    kinds: dict[str, str] = {} if spec.id is None else {spec.id: "id"}
    kinds |= dict.fromkeys(spec.label.source_columns, "label")
    kinds |= {field.column: field.kind for field in spec.fields}
    kinds |= {column: "kept" for column in spec.keep if column not in kinds}
    return profile(frame.drop("source_row", "raw"), kinds)
