"""Evidently's own report over the same measures and thresholds: pictures of every distribution, in one HTML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from reports.samples import Categories, Numbers

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

    from reports.measures import Measure

__all__ = ["EvidentlyRun", "run"]


@dataclass(frozen=True)
class EvidentlyRun:
    """One run of Evidently.

    Attributes:
        snapshot: Evidently's result.
        columns: column of the report → (metric, field).
    """

    snapshot: Snapshot
    columns: dict[str, tuple[str, str]]

    def html(self) -> str:
        """The report as one HTML file that needs no network."""
        return str(self.snapshot.get_html_str(as_iframe=False))

    def scores(self) -> dict[tuple[str, str], float]:
        """Evidently's score of each (metric, field)."""
        results: list[dict[str, Any]] = self.snapshot.dict()["metrics"]
        found = {result["config"].get("column"): result["value"] for result in results}
        return {key: float(found[column]) for column, key in self.columns.items()}


def run(judged: Sequence[tuple[Measure, float]], tags: Sequence[str]) -> EvidentlyRun | None:
    """Run Evidently on the measures that are one value a row, each with its threshold; None when there are none.

    Both sides of every measure must have a value somewhere: Evidently refuses empty columns.
    """
    columns = {
        _name(measure): (measure, threshold)
        for measure, threshold in judged
        if isinstance(measure.sample, Categories | Numbers)
    }
    if not columns:
        return None
    # Evidently counts its users unless this is set before it is imported.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import RowCount, ValueDrift

    definition = DataDefinition(
        numerical_columns=[name for name, (measure, _) in columns.items() if isinstance(measure.sample, Numbers)],
        categorical_columns=[name for name, (measure, _) in columns.items() if isinstance(measure.sample, Categories)],
    )
    sides = [
        Dataset.from_pandas(_frame(columns, side).to_pandas(), data_definition=definition)
        for side in ("reference", "current")
    ]
    drifts = [
        ValueDrift(column=name, method=measure.method, threshold=threshold)
        for name, (measure, threshold) in columns.items()
    ]
    # Evidently calls NumPy on histograms with empty bins; the warnings say nothing to whoever runs a pipeline.
    with np.errstate(all="ignore"):
        snapshot = Report([RowCount(), *drifts], include_tests=True, tags=list(tags)).run(sides[1], sides[0])
    return EvidentlyRun(snapshot, {name: (measure.metric, measure.field) for name, (measure, _) in columns.items()})


def _frame(columns: dict[str, tuple[Measure, float]], side: str) -> pl.DataFrame:
    samples = {name: measure.sample for name, (measure, _) in columns.items()}
    return pl.DataFrame({name: _harmless(getattr(sample, side)) for name, sample in samples.items()})


def _name(measure: Measure) -> str:
    scale = " (logarithm)" if isinstance(measure.sample, Numbers) and measure.sample.log else ""
    return f"{measure.field}: {measure.metric}{scale}"


def _harmless(values: pl.Series) -> pl.Series:
    """Values that cannot end the script element into which Evidently writes them as they are."""
    return values.str.replace_all("<", "‹", literal=True) if values.dtype == pl.String else values
