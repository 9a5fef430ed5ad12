"""Step: the page that links every report."""

from __future__ import annotations

from pathlib import Path

from core.orchestration import step
from reports import index
from warehouse.runs import joined


@step("write index")
def write_index(run_id: str) -> Path:
    """Rewrite reports/index.html over all catalogues and runs."""
    return index.write(joined(run_id).home.reports)
