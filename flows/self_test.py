"""The self-test flow: do the drift detectors raise alarms without drift, and find it where there is some?"""

from __future__ import annotations

from prefect import flow

from core.orchestration import run_name, task_runner
from tasks.monitor_results import SelfTestResult
from tasks.try_detectors import sample_products, try_detectors, write_self_test
from tasks.write_index import write_index
from warehouse.runs import open_run


@flow(name="self-test", flow_run_name=run_name, task_runner=task_runner())
def self_test(catalog: str, trials: int = 100) -> SelfTestResult:
    """Draw products of the catalogue as they come when nothing has changed, and put drift into others; count alarms.

    The catalogue is not held meanwhile: it takes minutes. One run takes the sample, another keeps the page.
    """
    with open_run(catalog, "self-test") as run:
        sampled = sample_products(run.run_id)
    tested = try_detectors(sampled, trials)
    with open_run(catalog, "self-test") as run:
        page = write_self_test(run.run_id, sampled, tested)
        index = write_index(run.run_id)
        return SelfTestResult.of(run, sampled, tested, {"self-test": str(page), "index": str(index)})
