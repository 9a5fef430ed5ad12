"""The self-test flow: do the drift detectors raise alarms without drift, and find it where there is some?"""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.monitor_results import SelfTestResult
from tasks.try_detectors import sample_products, try_detectors
from warehouse.runs import open_run


@flow(name="self-test", flow_run_name=run_name, task_runner=task_runner())
def self_test(catalog: str, trials: int = 100) -> SelfTestResult:
    """Draw products of the catalogue as they come when nothing has changed, and put drift into others; count alarms.

    The catalogue is not held meanwhile: it takes minutes.
    """
    with open_run(catalog, "self-test") as run:
        sampled = sample_products(run.run_id)
    tested, page = try_detectors(sampled, trials)
    return SelfTestResult.of(sampled, tested, page)
