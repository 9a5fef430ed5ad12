"""Step: is everything of a catalogue there and whole?"""

from __future__ import annotations

from core.orchestration import artifact_table, step
from warehouse.home import get_home
from warehouse.upkeep import Checked, check


@step("check tables")
def check_tables(catalog: str) -> Checked:
    """Read every row and check every digest. What is wrong is told, not raised: the rest is looked at too."""
    found = check(get_home().check(), catalog)
    damage = [vars(one) for one in (*found.damage, *found.published)]
    artifact_table(f"damage-{catalog}", damage, f"What of {catalog} is damaged")
    return found
