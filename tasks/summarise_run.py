"""Steps between the parts of a run of several."""

from __future__ import annotations

from core.orchestration import step
from warehouse.registry import champion
from warehouse.runs import joined


@step("needs champion")
def needs_champion(run_id: str) -> bool:
    """Whether the catalogue has no champion yet."""
    return champion(joined(run_id)) is None


@step("make visible")
def make_visible(run_id: str) -> None:
    """Record and publish what the run has done so far: it stays, whatever happens to the parts that come."""
    run = joined(run_id)
    run.record()
    run.publish()
