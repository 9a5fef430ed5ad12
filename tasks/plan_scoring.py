"""Step: which products to score with which model."""

from __future__ import annotations

from catalogs import registry
from core.errors import NoChampion
from core.orchestration import step
from warehouse.registry import champion, get
from warehouse.runs import joined
from warehouse.scoring import Plan, plan


@step("plan scoring")
def plan_scoring(run_id: str, model: str | None) -> Plan:
    """Partition what the champion, or the model named, has not answered for.

    Raises:
        NoChampion: nothing was promoted yet.
        UnknownModel: no such version.
    """
    run = joined(run_id)
    record = champion(run) if model is None else get(run.home, run.catalog, run.read("models"), model)
    if record is None:
        raise NoChampion(
            f"there is no model of catalogue {run.catalog} yet", hint=f"train one: aisle train {run.catalog}"
        )
    return plan(run, record, registry.load(run.catalog))
