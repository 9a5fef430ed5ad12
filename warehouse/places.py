"""Where the rows of a run that is under way have ended."""

from __future__ import annotations

from warehouse.engine import engine
from warehouse.runs import Run
from warehouse.statements import quoted, statement


def places(run: Run) -> dict[str, int]:
    """Accepted, review and pending: of all current products, and (`own_…`) of those that this run stored."""
    with engine(run) as connection:
        connection.execute(f"SET VARIABLE run_id = {quoted(run.run_id)}")
        result = connection.execute(statement("places"))
        names = [column[0] for column in result.description or []]
        row = result.fetchone()
        return dict(zip(names, row or [0] * len(names), strict=True))
