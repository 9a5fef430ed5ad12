"""Step: is the data still being renewed?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from catalogs import registry
from core.orchestration import step
from warehouse.recorded import recorded_runs
from warehouse.runs import Run, announce, joined


@dataclass(frozen=True)
class Freshness:
    """How old the data is.

    Attributes:
        last: when a product was last new, different or gone, UTC; None where none was ever stored.
        stale: whether that is longer ago than the catalogue allows; None where it sets no limit.
        summary: the same in words.
    """

    last: datetime | None
    stale: bool | None
    summary: str


@step("check freshness")
def check_freshness(run_id: str) -> Freshness:
    """Compare the last change of any product with `[freshness] max_days`, and announce data that is older.

    A run that read the same file again has renewed nothing: an export that got stuck upstream is stale as well.
    """
    run = joined(run_id)
    now = datetime.now(UTC)
    last = now if run.counts.get("stored") or run.counts.get("removed") else _last_recorded_change(run)
    limit = registry.load(run.catalog).freshness.max_days
    if last is None:
        return Freshness(None, None, "nothing was stored yet")
    age = now - last
    said = f"products last changed {age / timedelta(days=1):.1f} days ago, on {last:%Y-%m-%d %H:%M} UTC"
    if limit is None:
        return Freshness(last, None, said)
    stale = age > timedelta(days=limit)
    summary = f"{said}; {limit:g} days are allowed"
    if stale:
        facts = {"last_change": last.isoformat(timespec="seconds"), "max_days": limit}
        announce(run, "aisle.data.stale", f"{run.catalog} is stale: {summary}", facts)
    return Freshness(last, stale, summary)


def _last_recorded_change(run: Run) -> datetime | None:
    changing = recorded_runs(run.home, run.catalog).filter((pl.col("stored") > 0) | (pl.col("removed") > 0))
    last = changing["finished_at"].max()
    return last if isinstance(last, datetime) else None
