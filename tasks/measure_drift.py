"""Step: the current catalogue against the champion's training reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from catalogs import registry
from core.errors import NoChampion
from core.orchestration import artifact_table, step
from core.settings import get_settings
from reports import drift
from warehouse import tables
from warehouse.policy import decide
from warehouse.registry import champion
from warehouse.runs import joined
from warehouse.scoring import current_rows

MOST_ROWS = 20_000
"""Rows of either side that a drift report looks at; the sample is seeded, and its size stands beside every score."""


@dataclass(frozen=True)
class Seen:
    """What the comparison saw."""

    drifted: bool
    summary: str
    report: Path


@step("measure drift")
def measure_drift(run_id: str) -> Seen:
    """Compare, keep every score in `drift`, and write the report.

    Raises:
        NoChampion: there is no reference to compare with.
    """
    run = joined(run_id)
    spec = registry.load(run.catalog)
    model = champion(run)
    if model is None:
        raise NoChampion(
            f"there is no model of catalogue {run.catalog} yet", hint=f"train one: aisle train {run.catalog}"
        )
    seed = get_settings().seed
    reference = pl.read_parquet(model.folder / "reference.parquet")
    current = current_rows(run, spec, MOST_ROWS, seed)
    decided = decide(current, run.read("policy"), model.version)
    current = current.with_columns(decided.get_column("decision"))
    result = drift.compare(reference, current, spec, comparison="catalogue", seed=seed, most_rows=MOST_ROWS)
    stamped = result.scores.with_columns(
        pl.lit(run_id).alias("run_id"),
        pl.lit(datetime.now(UTC), dtype=tables.TIME).alias("measured_at"),
        pl.lit(model.version).alias("model_version"),
    )
    run.append("drift", tables.conform(stamped, "drift").select(list(tables.COLUMNS["drift"])))
    report = drift.write(run.reports, result, catalog=run.catalog, run_id=run_id, model_version=model.version)
    artifact_table(f"drift-{run.catalog}", result.scores.to_dicts(), result.summary)
    return Seen(result.drifted, result.summary, report)
