"""Trials of a search: what was tried on which rows, and what it was worth."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl

from warehouse import tables
from warehouse.runs import Run

__all__ = ["TrialRecord", "record"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        trial: its number in the search, from 1.
        recipe: name of the recipe.
        params: every parameter that the recipe reads, by dotted name.
        tried: those that the search varies.
        data_digest: sha256 of the training rows.
        rows: rows that were predicted, each by a model of the other folds.
        folds: parts that the training rows were cut into; see `folds_scored`.
        seed: seed of the solver.
        accuracy: mean of the folds' accuracies.
        macro_f1, weighted_f1: of the predictions of all folds together.
        by_fold: accuracy of each fold that was scored.
        fit_s: seconds of fitting and predicting.
        tried_at: when it ended.
    """

    trial: int
    recipe: str
    params: dict[str, Any]
    tried: dict[str, Any]
    data_digest: str
    rows: int
    folds: int
    seed: int
    accuracy: float
    macro_f1: float
    weighted_f1: float
    by_fold: list[float]
    fit_s: float
    tried_at: datetime

    @property
    def folds_scored(self) -> int:
        """How many of the folds were scored: fewer than `folds` where enough rows were before the last of them."""
        return len(self.by_fold)


def record(run: Run, trials: list[TrialRecord]) -> None:
    """Keep the trials of a search."""
    rows = [
        asdict(trial) | {"run_id": run.run_id, "params": _text(trial.params), "tried": _text(trial.tried)}
        for trial in trials
    ]
    run.append("trials", tables.conform(pl.DataFrame(rows), "trials"))


def _text(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, default=str)
