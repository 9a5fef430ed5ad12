"""Step: would more data help, and what is each field worth?"""

from __future__ import annotations

import time
from dataclasses import dataclass

from catalogs import registry
from classifier.studies import Ground, Study, field_ablation, learning_curve
from core.orchestration import step
from core.settings import get_settings
from tasks.evaluate_model import Evaluation
from tasks.fit_model import Candidate
from tasks.split_rows import Split
from warehouse.runs import joined

QUICK_S = 15.0
"""A training that took longer is studied only when that is asked for."""

BUDGET_S = 30.0
"""Unless asked for, no further fit is started after so many seconds of studies."""

LEAST_HOLDOUT = 100
"""On fewer hold-out rows differences of a few points are luck."""


@dataclass(frozen=True)
class Studies:
    """What further fits of the recipe showed.

    Attributes:
        learning_curve: metrics by training rows; None where it was not made.
        ablation: metrics without each field; None where it was not made.
        skipped: why nothing was made; empty where something was.
    """

    learning_curve: Study | None = None
    ablation: Study | None = None
    skipped: str = ""


@step("study model")
def study_model(run_id: str, split: Split, candidate: Candidate, evaluation: Evaluation, *, asked: bool) -> Studies:
    """Fit the recipe again on parts of the rows and without each field, where that is quick or `asked` for."""
    run = joined(run_id)
    why_not = skipped(run.catalog, split, candidate, asked=asked)
    if not why_not and split.holdout.height < LEAST_HOLDOUT and not asked:
        why_not = f"{split.holdout.height:,} held-out products are too few to tell small differences from luck"
    if why_not:
        return Studies(skipped=why_not)
    spec, seed = registry.load(run.catalog), get_settings().seed
    ground = Ground(split.train, split.holdout, evaluation.answered["label_path"], spec, split.recipe, seed)
    until = None if asked else time.monotonic() + BUDGET_S
    return Studies(learning_curve(ground, until), field_ablation(ground, until))


def skipped(catalog: str, split: Split, candidate: Candidate, *, asked: bool) -> str:
    """Why a training gets no studies, in words; empty where it gets them."""
    if split.holdout.is_empty():
        return "there are no held-out products to compare on"
    if candidate.train_s > QUICK_S and not asked:
        return (
            f"training took {candidate.train_s:.0f} s, and from {QUICK_S:.0f} s on this is made only when asked for: "
            f"aisle train {catalog} --study"
        )
    return ""
