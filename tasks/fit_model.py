"""Step: fit a model."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from catalogs import registry
from classifier.model import Model, fit
from core.orchestration import step
from core.settings import get_settings
from tasks.split_rows import Split
from warehouse.runs import joined


@dataclass(frozen=True)
class Candidate:
    """A fitted model, not yet saved.

    Attributes:
        train_s: seconds that it took.
        peak_mib: most memory that this process had held by then, in MiB.
    """

    model: Model
    train_s: float
    peak_mib: float


@step("fit model")
def fit_model(run_id: str, split: Split) -> Candidate:
    """Fit the recipe on the training rows.

    Raises:
        OneClass, NotEnoughLabels: these rows teach nothing.
    """
    run = joined(run_id)
    started = time.monotonic()
    model = fit(split.train, registry.load(run.catalog), split.recipe, get_settings().seed)
    return Candidate(model, round(time.monotonic() - started, 2), round(_peak_mib(), 1))


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024**2)  # Linux tells KiB, macOS bytes
