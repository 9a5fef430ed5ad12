"""Step: training products whose label is probably wrong, as a list to check."""

from __future__ import annotations

from classifier.label_issues import LabelIssues, label_issues
from core.orchestration import step
from tasks.fit_model import Candidate
from tasks.split_rows import Split


@step("find label issues")
def find_label_issues(split: Split, candidate: Candidate) -> LabelIssues:
    """List training products whose label looks wrong by their out-of-fold scores; neither they nor the model change."""
    return label_issues(split.train, candidate.model)
