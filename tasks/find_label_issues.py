"""Step: training products whose label is probably wrong, as a list to check."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs import registry
from classifier.label_issues import LabelIssues, label_issues
from core.errors import TrainingError
from core.orchestration import step
from core.settings import get_settings
from tasks.fit_model import Candidate
from tasks.split_rows import Split
from tasks.study_model import skipped
from warehouse.runs import joined


@dataclass(frozen=True)
class Suspected:
    """The suspected labels, or why there is no list.

    Attributes:
        found: None where none were looked for.
        skipped: why not, in words.
    """

    found: LabelIssues | None = None
    skipped: str = ""


@step("find label issues")
def find_label_issues(run_id: str, split: Split, candidate: Candidate, *, asked: bool) -> Suspected:
    """Score the training products out of fold and list the labels that look wrong, where that is quick or `asked` for.

    Nothing is changed: neither labels nor the model.
    """
    run = joined(run_id)
    if why_not := skipped(run.catalog, split, candidate, asked=asked):
        return Suspected(skipped=why_not)
    try:
        return Suspected(label_issues(split.train, registry.load(run.catalog), split.recipe, get_settings().seed))
    except TrainingError as error:  # a report must not cost the model
        return Suspected(skipped=error.message)
