"""The monitor flow: is the catalogue still what the champion was trained for?"""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.check_freshness import check_freshness
from tasks.decide_retraining import decide_retraining
from tasks.measure_drift import measure_drift
from tasks.monitor_results import MonitorResult
from tasks.write_index import write_index
from warehouse.runs import open_run


@flow(name="monitor", flow_run_name=run_name, task_runner=task_runner())
def monitor(catalog: str, within: str | None = None) -> MonitorResult:
    """Compare the catalogue with the champion's reference, and arrivals with those before; decide about retraining.

    Every score and rule is kept, and reports are written. `within` is the run that this is a part of.
    """
    with open_run(catalog, "monitor", within=within) as run:
        fresh = check_freshness(run.run_id)
        whole = measure_drift(run.run_id, "catalogue")
        arrived = measure_drift(run.run_id, "arrivals")
        retraining = decide_retraining(run.run_id)
        index = write_index(run.run_id)
        return MonitorResult.of(run, fresh, whole, arrived, retraining, index)
