"""A linear classifier for many rows and many labels: squared hinge loss, mini-batches, AdaGrad steps.

liblinear and scikit-learn's SGD go through all rows once a label, one entry at a time. This goes through them once for
all labels, as sparse × dense products. On 100,000 products with 22 labels (13 million entries) it took 6 s of processor
time where LinearSVC took 27 s and averaged SGD 17 s, and was the most accurate of the three; from about 20,000 rows on
it is level with LinearSVC on the real sets. Below that LinearSVC is better (benchmarks/results/solvers.md).

Step sizes: Duchi, Hazan and Singer, Adaptive subgradient methods, JMLR 12 (2011).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted

from classifier.design import Design

__all__ = ["AdaGradClassifier"]

_SMALLEST_BATCH, _LARGEST_BATCH = 128, 4096
# About so many steps an epoch where the sizes allow it: fewer do not get there, more cost without gain.
_STEPS = 80
# A batch is cut in two for two threads; where it is cut must not depend on the machine, or the weights would.
_HALVES = 2
_WORTH_A_THREAD = 1024
# Columns updated at once: 2,048 of 22 labels are 180 KB.
_IN_CACHE = 2048


class AdaGradClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One-against-rest linear classifier.

    Args:
        epochs: passes over the rows.
        rate: size of the first step; it falls to zero over the epochs.
        random_state: seed of the order of rows.
    """

    def __init__(self, *, epochs: int = 5, rate: float = 0.3, random_state: int = 0) -> None:
        self.epochs = epochs
        self.rate = rate
        self.random_state = random_state

    def fit(self, X: Design | sp.csr_matrix | ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Fit on rows × features (sparse, or a Design that is multiplied out batch by batch) and their labels."""
        design = X if isinstance(X, Design) else Design([sp.csr_matrix(X, dtype=np.float32)])
        self.classes_ = unique_labels(y)
        codes = np.searchsorted(self.classes_, np.asarray(y))
        rows, features = design.shape
        self.n_features_in_ = features
        state = _State(features, len(self.classes_), self.rate)
        batch = int(np.clip(2 ** round(np.log2(max(rows / _STEPS, 1))), _SMALLEST_BATCH, _LARGEST_BATCH))
        random = np.random.default_rng(self.random_state)
        steps = self.epochs * -(-rows // batch)
        step = 0
        with ThreadPoolExecutor(_HALVES, thread_name_prefix="adagrad") as pool:
            for _ in range(self.epochs):
                order = random.permutation(rows)
                for start in range(0, rows, batch):
                    state.step(design, order[start : start + batch], codes, 1.0 - step / steps, pool)
                    step += 1
        self.coef_ = state.weights.T
        self.intercept_ = state.intercept
        return self

    def decision_function(self, X: sp.csr_matrix) -> NDArray[np.float32]:  # noqa: N803
        """Scores (rows × labels)."""
        check_is_fitted(self)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def predict(self, X: sp.csr_matrix) -> NDArray[np.generic]:  # noqa: N803
        """The label with the highest score of each row."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])


class _State:
    """Weights (features × labels), and the squared gradients that each feature has seen, summed; the mean over labels.

    One step size a feature, not one a feature and label: as accurate on every set, and a third less to do.
    """

    def __init__(self, features: int, labels: int, rate: float) -> None:
        self.rate = rate
        self.weights = np.zeros((features, labels), dtype=np.float32)
        self.squares = np.zeros(features, dtype=np.float32)
        self.intercept = np.zeros(labels, dtype=np.float32)
        self.intercept_squares = np.zeros(labels, dtype=np.float32)
        self._place = np.zeros(features, dtype=np.int32)
        self._touched = np.zeros(features, dtype=bool)

    def step(
        self, design: Design, rows: NDArray[np.int64], codes: NDArray[np.int64], decay: float, pool: ThreadPoolExecutor
    ) -> None:
        """One step on one batch."""
        parts = [rows] if len(rows) < _WORTH_A_THREAD else np.array_split(rows, _HALVES)
        matrices = list(pool.map(design.__getitem__, parts))
        for matrix in matrices:
            self._touched[matrix.indices] = True
        columns = np.flatnonzero(self._touched)
        self._touched[columns] = False
        self._place[columns] = np.arange(len(columns), dtype=np.int32)
        # The batch's own columns side by side fit a cache that all of them would not.
        weights = np.empty((len(columns), self.weights.shape[1]), dtype=np.float32)
        halves = [slice(0, len(columns) // _HALVES), slice(len(columns) // _HALVES, len(columns))]
        list(pool.map(lambda own: np.take(self.weights, columns[own], axis=0, out=weights[own], mode="clip"), halves))
        sides = list(
            pool.map(lambda own: self._sides(own[0], codes[own[1]], weights), zip(matrices, parts, strict=True))
        )
        residual, gradient = sides[0] if len(sides) == 1 else map(np.add, *sides)
        rate = np.float32(self.rate * decay)
        list(pool.map(lambda own: self._update(columns[own], weights[own], gradient[own], rate), halves))
        self.intercept_squares += residual * residual
        self.intercept -= rate * residual / (1 + np.sqrt(self.intercept_squares))

    def _sides(
        self, matrix: sp.csr_matrix, codes: NDArray[np.int64], weights: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The derivative of half the squared hinge by the intercepts, and by the weights of the batch's columns."""
        place = np.take(self._place, matrix.indices)
        narrow = sp.csr_matrix((matrix.data, place, matrix.indptr), shape=(matrix.shape[0], len(weights)))
        residual = narrow @ weights
        residual += self.intercept
        own = np.arange(len(codes)), codes
        right = np.minimum(residual[own] - 1, 0)
        residual += 1
        np.maximum(residual, 0, out=residual)
        residual[own] = right
        return residual.sum(axis=0), np.asarray(narrow.T @ residual)

    def _update(
        self,
        columns: NDArray[np.int64],
        weights: NDArray[np.float32],
        gradient: NDArray[np.float32],
        rate: np.float32,
    ) -> None:
        for start in range(0, len(columns), _IN_CACHE):
            part = slice(start, start + _IN_CACHE)
            own, steps = columns[part], gradient[part]
            squares = self.squares[own] + np.einsum("ij,ij->i", steps, steps) / np.float32(steps.shape[1])
            self.squares[own] = squares
            steps *= (rate / (1 + np.sqrt(squares)))[:, None]
            self.weights[own] = weights[part] - steps
