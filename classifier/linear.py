"""Fitting the linear model: one weight a feature and label, one label against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from classifier.bayes import blend
from classifier.design import Design
from classifier.parts import Array
from classifier.recipes import LinearParams
from classifier.tokens import batches

__all__ = ["Linear", "fit_linear", "from_estimator", "settled", "solver_of", "unread"]

# From so many rows on AdaGrad is as accurate as LinearSVC, and many times faster (benchmarks/results/solvers.md).
_MANY_ROWS = 20_000
_EPOCHS, _FEWEST_EPOCHS = 5, 2
# Parameters that one solver alone reads.
_OWN = {"svc": ("model.C",), "adagrad": ("model.rate", "model.epochs")}
# So many rows in all epochs together, as long as there are two (docs/decisions.md).
_ENOUGH_VISITS = 3_000_000
# liblinear copies the matrix at 24 bytes an entry: no more than so many entries go there, whatever the rows.
_SVC_ENTRIES = 50_000_000
# liblinear draws from one generator for the whole process: of two fits at once, neither could be repeated.
_liblinear = Lock()
# Score of a label that the rows do not have at all: far below any that was learnt.
ABSENT_SCORE = -10.0
# Features whose weights are added up at once.
_BATCH_FEATURES = 65_536
# Log-probabilities of a text add up to at most so many of the least one: its vector has length 1.
_LONGEST = 300.0


@dataclass(frozen=True)
class Linear:
    """A fitted linear model.

    Attributes:
        coefficients: features × labels, C order: the order in which sparse × dense reads them.
        intercept: one a label.
    """

    coefficients: Array
    intercept: Array


def fit_linear(
    design: Design,
    codes: NDArray[np.int64],
    labels: int,
    params: LinearParams,
    seed: int,
    uppers: Sequence[NDArray[np.int64]] = (),
) -> Linear:
    """Fit on rows whose label is `codes` (0 … labels-1; not all of them need to occur).

    Args:
        design: rows × features.
        codes: label of each row.
        labels: number of labels.
        params: of the model.
        seed: seed of the solver.
        uppers: for each upper level of label paths the node of each label (`Tree.uppers`). A model of each level is
            fitted too, and what it says of a node is added to all labels below it: the sum is one linear model again.
    """
    linear = _fitted_and_blended(design, codes, labels, params, seed)
    for nodes in uppers if params.levels else ():
        if len(np.unique(nodes[codes])) < 2:
            continue  # one node for all of these rows: there is nothing to tell apart
        upper = _fitted_and_blended(design, nodes[codes], int(nodes.max()) + 1, params, seed)
        weight = np.float32(params.levels)
        for rows in batches(design.shape[1], _BATCH_FEATURES):  # a copy of all would be gigabytes
            linear.coefficients[rows] += weight * upper.coefficients[rows][:, nodes]
        linear.intercept[:] += weight * upper.intercept[nodes]
    return linear


def _fitted_and_blended(
    design: Design, codes: NDArray[np.int64], labels: int, params: LinearParams, seed: int
) -> Linear:
    linear = _fitted(design, codes, labels, params, seed)
    if not params.bayes:
        return linear
    return Linear(blend(linear.coefficients, design, codes, params.bayes), linear.intercept)


def _fitted(design: Design, codes: NDArray[np.int64], labels: int, params: LinearParams, seed: int) -> Linear:
    params = settled(params, design.shape[0], design.nnz)
    if params.solver == "svc":
        rows = design.whole()
        with _liblinear:
            return from_estimator(_svc(params, seed).fit(rows, codes), labels)
    return from_estimator(_adagrad(params, seed).fit(design, codes), labels)


def solver_of(params: LinearParams, rows: int, entries: int = 0) -> str:
    """The solver that fits so many rows with so many entries: svc or adagrad."""
    if params.solver != "auto":
        return params.solver
    return "svc" if rows < _MANY_ROWS and entries < _SVC_ENTRIES else "adagrad"


def unread(params: LinearParams, rows: int) -> dict[str, str]:
    """Parameters that only the solver reads which does not fit so many rows, each with the name of that solver."""
    used = solver_of(params, rows)
    return {key: solver for solver, own in _OWN.items() if solver != used for key in own}


def settled(params: LinearParams, rows: int, entries: int = 0) -> LinearParams:
    """The parameters with what is `auto` decided for so many rows with so many entries.

    What is fitted on a part of the rows, to be compared with a fit of all, is to have what is settled for all.
    """
    epochs = params.epochs
    if epochs == "auto":
        epochs = min(max(_ENOUGH_VISITS // max(rows, 1), _FEWEST_EPOCHS), _EPOCHS)
    return params.model_copy(update={"solver": solver_of(params, rows, entries), "epochs": epochs})


def from_estimator(estimator: Any, labels: int, dtype: type[np.floating] = np.float32) -> Linear:
    """Weights of a fitted scikit-learn classifier, one column a label; labels it never saw get a very low score.

    Args:
        estimator: a linear classifier, or a naive Bayes one, which is linear in its counts.
        labels: number of labels; the estimator's classes are some of 0 … labels-1.
        dtype: of the weights.
    """
    own: NDArray[np.int64] = estimator.classes_
    if hasattr(estimator, "feature_log_prob_"):
        fitted, fitted_intercept = estimator.feature_log_prob_, estimator.class_log_prior_
        absent = fitted.min() * _LONGEST
    else:
        fitted, fitted_intercept, absent = estimator.coef_, np.ravel(estimator.intercept_), ABSENT_SCORE
    if len(own) == len(fitted) == labels and fitted.dtype == dtype:
        return Linear(np.ascontiguousarray(fitted.T), fitted_intercept.astype(dtype))
    coefficients = np.zeros((fitted.shape[1], labels), dtype=dtype)
    intercept = np.full(labels, absent, dtype=dtype)
    if len(fitted) == 1:
        # scikit-learn keeps one vector for two classes: for the second, against the first.
        fitted = np.vstack([-fitted, fitted])
        fitted_intercept = np.concatenate([-fitted_intercept, fitted_intercept])
    for row, label in enumerate(own):
        coefficients[:, label] = fitted[row]
        intercept[label] = fitted_intercept[row]
    return Linear(coefficients, intercept)


def _svc(params: LinearParams, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    # liblinear's own tolerance; scikit-learn's 1e-4 takes up to three times as long and changes no figure's third
    # digit.
    return LinearSVC(C=params.C, tol=0.1, random_state=seed)


def _adagrad(params: LinearParams, seed: int) -> Any:
    from classifier.adagrad import AdaGradClassifier

    return AdaGradClassifier(epochs=cast(int, params.epochs), rate=params.rate, random_state=seed)
