"""Step: read one file, decide every row, and stage what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from catalogs import registry
from catalogs.known_lines import LINE_DIGEST, to_remember
from catalogs.lines import ahead
from catalogs.normalise import normalise, unread_numbers
from catalogs.readers import RawBatch, read
from catalogs.spec import CatalogSpec
from core.errors import ColumnMissing
from core.orchestration import step
from core.settings import get_settings
from expectations.decide import decide
from expectations.rules import compile as compile_rules
from expectations.sample import Sample
from reports.validation import ColumnProfile, profile, reason_kinds
from tasks.find_source import FileJob
from warehouse.ingest import Stage, Staged

NOT_A_NUMBER = "{}_not_a_number"
NO_COLUMN = "{}_no_column"
"""Names of the warnings that are no rule's, by column."""

TOO_EARLY = (
    "A file without labels is accepted once there is a model: ingest the labelled file by itself and train first "
    "(aisle ingest {0} FILE, aisle train {0})"
)
"""Hint for a file without labels where there is no champion, by catalogue."""

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
    unread: Counter[str] = field(default_factory=Counter)
    """Rows whose number is none, by column."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Rejected rows by kind of reason; a row may have several."""


@step("read file")
def read_file(job: FileJob) -> FileRead:
    """Read a file batch by batch; bad rows are staged as rejects with every reason, good ones as products."""
    spec = registry.load(job.catalog)
    settings = get_settings()
    stage = Stage(Path(job.staging), job.number)
    found = FileRead(Staged(job.file.name, 0, 0, {}), Sample(spec, settings.seed + job.number))
    counts: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    unlabelled: tuple[str, ...] = ()
    for batch, frame in ahead(_normalised(job, spec)):
        if not found.columns:
            found.columns = _profile(batch.frame.head(PROFILED_ROWS), spec)
        decided = decide(frame, spec, found.sample.rules)
        found.sample.add(frame, decided.broken)
        rejects = stage.rejects_of(job.file.name, batch.rejects, decided.rejects, frame)
        unread = unread_numbers(batch.frame, frame, spec)
        remembered = to_remember(batch.frame, spec, [decided.warned, *unread.values()])
        stage.write(decided.good, rejects, remembered, batch.known)
        counts.update(read=batch.read, rejected=rejects.height, known=batch.known.height)
        warnings.update(decided.warnings)
        found.failed.update(decided.failed)
        found.reasons.update(reason_kinds(rejects))
        found.unread.update({column: len(rows) for column, rows in unread.items()})
        unlabelled = batch.unlabelled
    warnings.update({NOT_A_NUMBER.format(column): count for column, count in found.unread.items()})
    warnings.update({NO_COLUMN.format(column): counts["read"] for column in unlabelled})
    # A file has all columns of the label or none: one with some of them was refused.
    staged = (counts["read"], counts["rejected"], dict(warnings), not unlabelled, counts["known"])
    found.staged = Staged(job.file.name, *staged)
    return found


def meanings(warnings: Iterable[str], spec: CatalogSpec) -> dict[str, str]:
    """What each warning means, by its name: that of a rule, of a number column, or of a label column."""
    known = {rule.name: rule.why for rule in compile_rules(spec)}
    known |= {
        NOT_A_NUMBER.format(field.column): f"{field.column} is not a number: stored without" for field in spec.fields
    }
    for column in spec.label.source_columns:
        what = f"no column {column}: new products have no label, stored ones keep theirs"
        known[NO_COLUMN.format(column)] = what
    return {name: known[name] for name in warnings}


def _normalised(job: FileJob, spec: CatalogSpec) -> Iterator[tuple[RawBatch, pl.DataFrame]]:
    """Each batch as it was read, and as products."""
    try:
        rows = get_settings().batch_rows
        for batch in read(job.file, spec, rows, need_label=job.need_label, known=job.known):
            yield batch, normalise(batch.frame, spec, job.file.name)
    except ColumnMissing as error:
        unlabelled = all(f"'{column}'" in error.message for column in spec.label.source_columns)
        if not (job.need_label and unlabelled):
            raise
        # The file may be right, and only too early.
        hint = f"{error.hint}{'' if (error.hint or '').endswith('?') else '.'} {TOO_EARLY.format(spec.name)}"
        raise ColumnMissing(error.message, where=error.where, hint=hint) from error


def _profile(frame: pl.DataFrame, spec: CatalogSpec) -> list[ColumnProfile]:
    kinds: dict[str, str] = {} if spec.id is None else {spec.id: "id"}
    kinds |= dict.fromkeys(spec.label.source_columns, "label")
    kinds |= {field.column: field.kind for field in spec.fields}
    kinds |= {column: "kept" for column in spec.keep if column not in kinds}
    return profile(frame.drop("source_row", "raw", *LINE_DIGEST, strict=False), kinds)
