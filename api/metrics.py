"""What Prometheus may know: requests, latency, products, labels, confidence, decisions, model versions, errors.

With several workers the counts of all are summed through the folder that PROMETHEUS_MULTIPROC_DIR names, which
`aisle serve --workers N` sets up.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from api.answers import Answers
from warehouse.registry import ModelRecord

__all__ = [
    "CHAMPION_PROBLEM",
    "CONTENT_TYPE",
    "IN_PROGRESS",
    "LOOKED",
    "BatchHistogram",
    "answered",
    "champion_changed",
    "exposed",
    "requested",
]

CONTENT_TYPE = CONTENT_TYPE_LATEST


class BatchHistogram(Histogram):
    """A histogram that takes many values at once: one by one they would cost more than a label does."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each amount; none may be NaN."""
        self._sum.inc(sum(amounts))
        for bucket, count in Counts(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


REQUESTS = Counter("aisle_http_requests", "Requests by route, method and status.", ["route", "method", "status"])
SECONDS = Histogram(
    "aisle_http_request_seconds",
    "Seconds from the first byte of a request's head to the last of its answer.",
    ["route"],
    buckets=[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
)
ERRORS = Counter("aisle_http_errors", "Requests that were refused or failed, by route and status.", ["route", "status"])
IN_PROGRESS = Gauge("aisle_http_requests_in_progress", "Requests being answered.", multiprocess_mode="livesum")
PRODUCTS = Counter("aisle_products", "Products that were given a label.", ["catalog"])
LABELS = Counter("aisle_labels", "Labels given.", ["catalog", "label"])
DECISIONS = Counter("aisle_decisions", "Decisions: accepted, or review.", ["catalog", "decision"])
CONFIDENCE = BatchHistogram(
    "aisle_confidence",
    "Confidence of the labels given.",
    ["catalog"],
    buckets=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0],
)
MODEL = Gauge(
    "aisle_model_info",
    "1 for the champion that is served, 0 for those before it.",
    ["catalog", "version", "digest"],
    multiprocess_mode="livemin",
)
CHAMPIONS = Counter("aisle_champion_changes", "Champions taken into service.", ["catalog"])
CHAMPION_PROBLEM = Gauge(
    "aisle_champion_problem",
    "1 while a catalogue's newest champion cannot be loaded; an earlier one may be served.",
    ["catalog"],
    multiprocess_mode="livemax",
)
LOOKED = Gauge(
    "aisle_champions_looked_timestamp_seconds",
    "When the worker that is furthest behind last looked for new champions.",
    multiprocess_mode="livemin",
)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def requested(route: str, method: str, status: int, seconds: float) -> None:
    """Count an answered request. Methods that no route has count as one: clients may make up any number of them."""
    _of(REQUESTS, route, method if method in _METHODS else "other", str(status)).inc()
    _of(SECONDS, route).observe(seconds)
    if status >= 400:
        ERRORS.labels(route, str(status)).inc()


def answered(catalog: str, answers: Answers) -> None:
    """Count answered products."""
    _of(PRODUCTS, catalog).inc(len(answers))
    for metric, column in ((LABELS, "label"), (DECISIONS, "decision")):
        for value, count in Counts(answers.column(column)).items():
            _of(metric, catalog, value).inc(count)
    _of(CONFIDENCE, catalog).observe_all(answers.column("confidence"))


@lru_cache(maxsize=10_000)
def _of(metric: Any, *labels: str) -> Any:
    """The metric of these labels, which prometheus_client itself looks for under a lock."""
    return metric.labels(*labels)


def champion_changed(catalog: str, old: ModelRecord | None, new: ModelRecord) -> None:
    """Note which champion is served from now on."""
    if old is not None:
        MODEL.labels(catalog, old.version, old.digest).set(0)
        CHAMPIONS.labels(catalog).inc()
    MODEL.labels(catalog, new.version, new.digest).set(1)


def exposed() -> bytes:
    """All metrics in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """Leave out the gauges of workers that have ended: what they were doing, nobody does any more."""
    for file in folder.glob("gauge_live*_*.db"):
        worker = int(file.stem.rpartition("_")[2])
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker was quicker
                multiprocess.mark_process_dead(worker)  # type: ignore[no-untyped-call]
