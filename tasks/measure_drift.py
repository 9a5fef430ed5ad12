"""Step: has the world moved? The current catalogue against the champion's reference; arrivals against those before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from catalogs import registry
from catalogs.spec import CatalogSpec
from classifier import artifact
from core.orchestration import artifact_table, step
from core.settings import get_settings
from reports import drift, drift_page
from reports.drift import Comparison, DriftResult
from reports.measures import Knowledge, rejected_share
from warehouse import columns, tables, watched
from warehouse.policy import decide
from warehouse.registry import ModelRecord, need_champion
from warehouse.runs import Run, announce, joined

MOST_ROWS: dict[Comparison, int] = {"catalogue": 20_000, "arrivals": 10_000}
"""Rows of either side that a comparison looks at; the sample is seeded, and its size stands beside every score."""

_KEYS: dict[Comparison, str] = {"catalogue": "drift", "arrivals": "drift-arrivals"}


@dataclass(frozen=True)
class Seen:
    """What a comparison saw.

    Attributes:
        comparison: which of the two.
        drifted: None where there was too little to compare for a verdict.
        summary: in words.
        report: the page.
    """

    comparison: Comparison
    drifted: bool | None
    summary: str
    report: Path


@step("measure drift")
def measure_drift(run_id: str, comparison: Comparison) -> Seen:
    """Compare, keep every score in `drift`, write the report, and announce what moved.

    Raises:
        NoChampion: there is no reference to compare with.
    """
    run = joined(run_id)
    spec = registry.load(run.catalog)
    model = need_champion(run)
    result = _whole_catalogue(run, spec, model) if comparison == "catalogue" else _arrivals(run, spec, model)
    stamped = result.scores.with_columns(
        pl.lit(run_id).alias("run_id"),
        pl.lit(run.later_than(run.read("drift")["measured_at"]), dtype=columns.TIME).alias("measured_at"),
        pl.lit(model.version).alias("model_version"),
    )
    run.append("drift", tables.conform(stamped, "drift").select(list(columns.COLUMNS["drift"])))
    report = drift_page.write(run.reports, result, catalog=run.catalog, run_id=run_id, model_version=model.version)
    artifact_table(f"{_KEYS[comparison]}-{run.catalog}", result.scores.to_dicts(), result.summary)
    if result.drifted:
        announce(
            run,
            "aisle.drift",
            f"{run.catalog}, {comparison}: {result.summary}",
            {"comparison": comparison, "model_version": model.version},
        )
    judged = bool(result.scores["drifted"].count())
    return Seen(comparison, result.drifted if judged else None, result.summary, report)


def _whole_catalogue(run: Run, spec: CatalogSpec, model: ModelRecord) -> DriftResult:
    seed, most = get_settings().seed, MOST_ROWS["catalogue"]
    reference = artifact.reference(model.folder)
    current = watched.current_rows(run, spec, most, seed, model)
    return drift.compare(
        pl.DataFrame() if reference is None else reference,
        _decided(run, model, current),
        spec,
        comparison="catalogue",
        seed=seed,
        most_rows=most,
        knowledge=_knowledge(model),
    )


def _arrivals(run: Run, spec: CatalogSpec, model: ModelRecord) -> DriftResult:
    seed, most = get_settings().seed, MOST_ROWS["arrivals"]
    found = watched.arrivals(run, spec, model, most, seed)
    return drift.compare(
        _decided(run, model, found.before),
        _decided(run, model, found.now),
        spec,
        comparison="arrivals",
        seed=seed,
        most_rows=most,
        knowledge=Knowledge(embedding=_knowledge(model).embedding),
        more=rejected_share(*watched.rejected(run, found.since), spec),
    )


def _decided(run: Run, model: ModelRecord, rows: pl.DataFrame) -> pl.DataFrame:
    """With the decision of today's policy; null where the model has not answered."""
    answered = rows.filter(pl.col("label").is_not_null())
    decision = decide(answered, run.read("policy"), model.version)["decision"]
    decided = answered.select("product_id").with_columns(decision)
    return rows.join(decided, on="product_id", how="left", maintain_order="left")


def _knowledge(model: ModelRecord) -> Knowledge:
    return Knowledge(artifact.vocabulary(model.folder), artifact.embedding(model.folder))
