"""Step: one trial of a search, cross-validated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock

import polars as pl

from catalogs import registry
from classifier.recipes import Recipe
from classifier.space import features_of
from classifier.trials import Prepared, Scored, prepare
from core.errors import AisleError
from core.orchestration import step
from tasks.plan_search import Trial


@dataclass(frozen=True)
class Tried:
    """A trial, and what it was worth."""

    trial: Trial
    scored: Scored
    at: datetime


@dataclass(frozen=True)
class Failed:
    """A trial that these rows or its parameters do not allow, and why."""

    trial: Trial
    error: AisleError


@step("try recipe")
def try_recipe(trial: Trial) -> Tried | Failed:
    """Cross-validate one recipe. Trials that differ in the estimator's parameters only share their features.

    A named error is part of the answer: it must not cost the search its other trials.
    """
    try:
        return Tried(trial, _prepared_for(trial).score(trial.recipe, trial.seed), datetime.now(UTC))
    except AisleError as error:
        return Failed(trial, error)


class _Features:
    """What trials share: a recipe, equal to any other of the same features."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._key = str(features_of(recipe))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Features) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=2)  # trials come ordered by their features: two workers need two at most
def _prepared(catalog: str, rows_file: str, folds: int, features: _Features) -> Prepared:
    return prepare(pl.read_parquet(rows_file), registry.load(catalog), features.recipe, folds)


_making = Lock()


def _prepared_for(trial: Trial) -> Prepared:
    with _making:  # whoever needs the same features meanwhile waits for them, and does not make them again
        return _prepared(trial.catalog, trial.rows_file, trial.folds, _Features(trial.recipe))


def forget_features() -> None:
    """Free the features of the last search in this process."""
    _prepared.cache_clear()
