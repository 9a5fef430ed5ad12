"""Step: one partition of products, scored."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from classifier.artifact import load
from classifier.model import Model
from core.memory import give_back
from core.orchestration import step
from warehouse import scoring
from warehouse.registry import ModelRecord


@lru_cache(maxsize=2)
def _loaded(folder: Path, digest: str) -> Model:  # noqa: ARG001 - a changed digest is another model
    return load(folder)


@step("score partition")
def score_partition(partition: scoring.Partition, record: ModelRecord, run_id: str) -> int:
    """Score one partition into the run's staging folder; returns its rows."""
    scored = scoring.score_partition(partition, _loaded(record.folder, record.digest), record, run_id)
    give_back()
    return scored
