"""Step: keep the answers."""

from __future__ import annotations

from core.orchestration import artifact_table, step
from warehouse import scoring
from warehouse.runs import joined


@step("store scores")
def store_scores(run_id: str, plan: scoring.Plan) -> int:
    """Commit the answers of all partitions; returns how many rows were scored."""
    run = joined(run_id)
    scoring.store(run, plan)
    artifact_table(f"score-{run.catalog}", [plan.counts], f"What run {run_id} scored with {plan.model.version}")
    return plan.todo
