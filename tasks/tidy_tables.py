"""Step: write small files together, and delete those that nobody needs."""

from __future__ import annotations

from core.orchestration import step
from warehouse.runs import open_run
from warehouse.upkeep import Checked, Tidied, tidy


@step("tidy tables")
def tidy_tables(catalog: str, found: Checked) -> Tidied | None:
    """A run of its own, which records the new versions. Where a table or a model is damaged nothing is touched: None.

    What was published may be unreadable all the same, by another catalogue's damage: the run publishes it anew.
    """
    if found.damage:
        return None
    with open_run(catalog, "maintain") as run:
        return tidy(run)
