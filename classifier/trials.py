"""Cross-validation of recipes: each fold predicted by a model of the others, the same features for many trials."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from typing_extensions import override

from catalogs.product import KNOWN_PATH, TEXT_HASH
from classifier.design import Design
from classifier.holdout import folds as folds_by_text
from classifier.metrics import evaluate
from classifier.model import label_codes, no_words, vectoriser_of
from classifier.prototypes import Prototype, PrototypeVectoriser, joined
from classifier.training import Layout, out_of_fold
from classifier.tree import Tree
from core.errors import NotEnoughLabels

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec
    from classifier.recipes import Recipe

__all__ = ["Prepared", "Scored", "prepare"]

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """What a trial was worth.

    Attributes:
        accuracy: mean of the folds' accuracies, each fold counting the same.
        by_fold: accuracy of each fold.
        macro_f1, weighted_f1: of the predictions of all folds together.
        rows: rows that were predicted.
        fit_s: seconds it took to fit and predict all folds, their features not counted.
    """

    accuracy: float
    by_fold: list[float]
    macro_f1: float
    weighted_f1: float
    rows: int
    fit_s: float


class _Folds(Protocol):
    """Features of a catalogue's rows, cut into folds."""

    def predicted(self, recipe: Recipe, seed: int) -> Iterator[tuple[Codes, Codes]]:
        """For each fold its rows, and their label by a model of the others."""
        ...


@dataclass(frozen=True)
class Prepared:
    """Rows as features: ready for every trial that differs in parameters of the estimator only."""

    spec: CatalogSpec
    paths: list[list[str]]
    codes: Codes
    folds: _Folds

    def score(self, recipe: Recipe, seed: int) -> Scored:
        """Cross-validate a recipe whose features are these."""
        started = time.monotonic()
        found = list(self.folds.predicted(recipe, seed))
        took = round(time.monotonic() - started, 3)
        if not found:
            raise NotEnoughLabels(
                "no fold leaves two labels to learn from",
                where=f"catalogue {self.spec.name}",
                hint="give more labelled rows",
            )
        by_fold = [float(np.mean(self.codes[rows] == labels)) for rows, labels in found]
        rows, labels = (np.concatenate([fold[i] for fold in found]) for i in (0, 1))
        known = pl.Series(self.paths, dtype=pl.List(pl.String))
        metrics = evaluate(known.gather(self.codes[rows]), known.gather(labels), self.spec.levels)
        return Scored(
            accuracy=float(np.mean(by_fold)),
            by_fold=by_fold,
            macro_f1=metrics["macro_f1"],
            weighted_f1=metrics["weighted_f1"],
            rows=len(rows),
            fit_s=took,
        )


def prepare(frame: pl.DataFrame, spec: CatalogSpec, recipe: Recipe, count: int) -> Prepared:
    """Everything about `count` folds that parameters of the estimator do not change.

    Folds are grouped by text, as in training; those of a prototype are stratified by label and in the order of the
    rows, as its authors had them.

    Args:
        frame: canonical products, labelled ones in the order of training.
        spec: their catalogue.
        recipe: whose features to make.
        count: number of folds.

    Raises:
        NotEnoughLabels, OneClass: these rows teach nothing, or are too few for so many folds.
    """
    labelled = frame.filter(pl.col(KNOWN_PATH).is_not_null())
    paths, codes = label_codes(labelled, spec)
    vectoriser = vectoriser_of(spec, recipe)
    vectoriser.check(labelled)
    if isinstance(vectoriser, PrototypeVectoriser):
        try:
            return Prepared(spec, paths, codes, _Stratified.of(vectoriser, labelled, codes, count))
        except ValueError as error:
            raise _too_few(spec, count, error) from error
    design = vectoriser.fit(labelled)
    if not design.nnz:
        raise no_words(spec, labelled.height)
    grouped = _Grouped(design, vectoriser.layout, codes, Tree(paths), labelled[TEXT_HASH], count)
    return Prepared(spec, paths, codes, grouped)


@dataclass(frozen=True)
class _Grouped(_Folds):
    """Folds by text, all rows as one design matrix."""

    design: Design
    layout: Layout
    codes: Codes
    tree: Tree
    text_hash: pl.Series
    count: int

    @override
    def predicted(self, recipe: Recipe, seed: int) -> Iterator[tuple[Codes, Codes]]:
        calibration = recipe.params.calibration.model_copy(update={"folds": self.count})
        params = recipe.params.model_copy(update={"calibration": calibration})
        held = out_of_fold(self.design, self.layout, self.codes, self.tree, self.text_hash, params, seed)
        labels = held.scores.argmax(axis=1)
        fold = folds_by_text(self.text_hash, self.count)[held.rows]
        for number in np.unique(fold):
            yield held.rows[fold == number], labels[fold == number]


@dataclass(frozen=True)
class _Stratified(_Folds):
    """Folds by label, each with features of its own: what the prototypes' authors did."""

    prototype: Prototype
    codes: Codes
    parts: list[tuple[Codes, Codes, sp.csr_matrix, sp.csr_matrix]]
    """For each fold its rows, all others, and the features of both."""

    @classmethod
    def of(cls, vectoriser: PrototypeVectoriser, labelled: pl.DataFrame, codes: Codes, count: int) -> _Stratified:
        """Cut and vectorise.

        Raises:
            ValueError: too few rows for so many folds, or no words.
        """
        from sklearn.model_selection import StratifiedKFold

        texts = joined(labelled, vectoriser.reads, vectoriser.prototype.separator)
        parts = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a label with fewer rows than folds is missing in some
            cut = list(StratifiedKFold(count).split(codes, codes))
        for others, rows in cut:
            words = vectoriser.prototype.vectoriser(vectoriser.params)
            fitted = words.fit_transform(texts.gather(others))
            parts.append((rows, others, words.transform(texts.gather(rows)), fitted))
        return cls(vectoriser.prototype, codes, parts)

    @override
    def predicted(self, recipe: Recipe, seed: int) -> Iterator[tuple[Codes, Codes]]:
        for rows, others, held, fitted in self.parts:
            estimator: Any = self.prototype.estimator(recipe.params.prototype)
            yield rows, estimator.fit(fitted, self.codes[others]).predict(held)


def _too_few(spec: CatalogSpec, count: int, error: ValueError) -> NotEnoughLabels:
    return NotEnoughLabels(
        f"these rows cannot be cut into {count} folds: {error}",
        where=f"catalogue {spec.name}",
        hint="give more labelled rows, or fewer folds with --folds",
    )
