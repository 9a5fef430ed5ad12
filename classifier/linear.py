"""Fitting the linear model: one weight a feature and label, one label against the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from classifier.parts import Array
from classifier.recipes import LinearParams

__all__ = ["Linear", "fit_linear", "from_estimator"]

# liblinear copies the matrix into 16 bytes an entry and works on one core; averaged SGD reads float32 as it is, on all
# cores. Up to these sizes liblinear is the better fit and fast enough.
_SVC_ENTRIES = 20_000_000
_SVC_UPDATES = 3_000_000_000  # entries × labels
# Score of a label that the rows do not have at all: far below any that was learnt.
ABSENT_SCORE = -10.0
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


def fit_linear(design: sp.csr_matrix, codes: NDArray[np.int64], labels: int, params: LinearParams, seed: int) -> Linear:
    """Fit on rows whose label is `codes` (0 … labels-1; not all of them need to occur)."""
    solver = params.solver
    if solver == "auto":
        small = design.nnz <= _SVC_ENTRIES and design.nnz * labels <= _SVC_UPDATES
        solver = "svc" if small else "sgd"
    estimator = _svc(params, seed) if solver == "svc" else _sgd(params, seed, design.shape[0])
    estimator.fit(design, codes)
    return from_estimator(estimator, labels)


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

    # liblinear's own tolerance; scikit-learn's 1e-4 takes up to three times as long and changes no figure's third digit.
    return LinearSVC(C=params.C, tol=0.1, random_state=seed)


def _sgd(params: LinearParams, seed: int, rows: int) -> Any:
    from sklearn.linear_model import SGDClassifier

    # Same objective as the SVC up to the loss near the margin: alpha = 1 / (C · rows), with the constant that came out
    # best on the training folds of every set at hand.
    alpha = 1.0 / (params.C * rows)
    return SGDClassifier(
        loss="modified_huber", alpha=alpha, max_iter=params.epochs, tol=None, average=True, n_jobs=-1, random_state=seed
    )
