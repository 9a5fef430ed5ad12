"""A linear classifier for many rows and many labels: squared hinge loss, mini-batches, AdaGrad steps.

liblinear and scikit-learn's SGD go through all rows once a label, one entry at a time. This goes through them once for
all labels, by compiled loops that read the matrix where it stands (`classifier.steps`), and passes over the rows whose
margins are wide enough. On 80,000 products with 22 labels (13 million entries) it took 4 s of processor time where
LinearSVC took 19 s and averaged SGD 11 s, and was the most accurate of the three; from about 20,000 rows on it is level
with LinearSVC on the real sets. Below that LinearSVC is better (benchmarks/results/solvers.md).

Step sizes: Duchi, Hazan and Singer, Adaptive subgradient methods, JMLR 12 (2011).
"""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from classifier import steps
from classifier.design import Design, Product
from classifier.parts import Array, Rows, add_product

__all__ = ["AdaGradClassifier"]

_SMALLEST_BATCH, _LARGEST_BATCH = 128, 4096
# About so many steps an epoch where the sizes allow it: fewer do not get there, more cost without gain.
_STEPS = 80
_THREADS = 2  # what comes out does not hang on it


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
        """Fit on rows × features (sparse, or a Design, whose products are never multiplied out) and their labels."""
        design = X if isinstance(X, Design) else Design([sp.csr_matrix(X, dtype=np.float32)])
        self.classes_ = unique_labels(y)
        codes = np.searchsorted(self.classes_, np.asarray(y))
        rows, self.n_features_in_ = design.shape
        weights = np.zeros((self.n_features_in_, len(self.classes_)), dtype=np.float32)
        self.coef_, self.intercept_ = weights.T, np.zeros(len(self.classes_), dtype=np.float32)
        blocks = _weights_of(design, weights)
        squares = np.zeros_like(self.intercept_)
        batch = int(np.clip(2 ** round(np.log2(max(rows / _STEPS, 1))), _SMALLEST_BATCH, _LARGEST_BATCH))
        random = np.random.default_rng(self.random_state)
        total = self.epochs * -(-rows // batch)
        done = 0
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="adagrad") as pool:
            for _ in range(self.epochs):
                order = random.permutation(rows)
                for start in range(0, rows, batch):
                    own = np.sort(order[start : start + batch])  # so that memory is read forwards
                    rate = self.rate * (1.0 - done / total)
                    slope = self._step(blocks, design.numbers(own), codes[own], rate, pool)
                    squares += slope * slope
                    self.intercept_ -= np.float32(rate) * slope / (1 + np.sqrt(squares))
                    done += 1
        return self

    def _step(
        self,
        blocks: list[_BlockWeights],
        rows: NDArray[np.int64],
        codes: NDArray[np.int64],
        rate: float,
        pool: Executor,
    ) -> Array:
        """One step of all weights on one batch; the derivative by the intercepts, which stay as they are."""
        residual = np.tile(self.intercept_, (len(rows), 1))

        def score(first: int, last: int) -> NDArray[np.int64]:
            for block in blocks:
                block.score(rows[first:last], residual[first:last])
            return first + steps.hinge(residual[first:last], codes[first:last])

        middle = len(rows) // 2
        erring = np.concatenate(list(pool.map(score, (0, middle), (middle, len(rows)))))
        rows, residual = rows[erring], residual[erring]  # the others change nothing
        list(pool.map(lambda block: block.step(rows, residual, rate), blocks))
        return np.asarray(residual.sum(axis=0))

    def decision_function(self, X: sp.csr_matrix) -> NDArray[np.float32]:  # noqa: N803
        """Scores (rows × labels)."""
        check_is_fitted(self)
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def predict(self, X: sp.csr_matrix) -> NDArray[np.generic]:  # noqa: N803
        """The label with the highest score of each row."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(axis=1)])


class _BlockWeights:
    """A block's own weights (columns × labels), and what they have seen."""

    def __init__(self, block: sp.csr_matrix, weights: Array) -> None:
        self.weights = weights
        self.squares = np.zeros(len(weights), dtype=np.float32)
        self._places = np.full(len(weights), -1, dtype=np.int32)
        self._matrix = Rows.of(block.astype(np.float32, copy=False))

    @property
    def entries(self) -> int:
        """What there is to go through."""
        return len(self._matrix.ids)

    def score(self, rows: NDArray[np.int64], scores: Array) -> None:
        """Add what the block says of some rows."""
        add_product(self._matrix, self.weights, scores, rows)

    def step(self, rows: NDArray[np.int64], residual: Array, rate: float) -> None:
        """Take the weights a step down the gradient of some rows, whose scores' derivatives are `residual`."""
        columns = steps.distinct_ids(rows, *self._matrix[:2], self._places)
        gradients = steps.gradient(rows, *self._matrix[:3], residual, columns, self._places)
        steps.descend(columns, gradients, rate, self.weights, self.squares)


class _ProductWeights(_BlockWeights):
    """The same of a product, whose rows are never multiplied out: a word's columns are added up once a batch."""

    def __init__(self, block: Product, weights: Array) -> None:
        super().__init__(sp.vstack(block.rights, format="csr"), weights)
        self._lefts = [Rows.of(left.astype(np.float32, copy=False)) for left in block.lefts]
        ends = np.cumsum([right.shape[0] for right in block.rights])
        self._words = [slice(end - right.shape[0], end) for end, right in zip(ends, block.rights, strict=True)]

    @property
    @override
    def entries(self) -> int:
        return super().entries + sum(len(left.ids) for left in self._lefts)

    @override
    def score(self, rows: NDArray[np.int64], scores: Array) -> None:
        for left, own in zip(self._lefts, self._words, strict=True):
            places = np.full(own.stop - own.start, -1, dtype=np.int32)
            words = steps.distinct_ids(rows, *left[:2], places)
            of_words = np.zeros((len(words), scores.shape[1]), dtype=np.float32)
            super().score(words + own.start, of_words)
            add_product(Rows(*steps.narrow(rows, *left[:3], places), len(words)), of_words, scores)

    @override
    def step(self, rows: NDArray[np.int64], residual: Array, rate: float) -> None:
        words, residuals = [], []
        for left, own in zip(self._lefts, self._words, strict=True):
            places = np.full(own.stop - own.start, -1, dtype=np.int32)
            found = steps.distinct_ids(rows, *left[:2], places)
            words.append(found + own.start)
            residuals.append(steps.gradient(rows, *left[:3], residual, found, places))
        super().step(np.concatenate(words), np.concatenate(residuals), rate)


def _weights_of(design: Design, weights: Array) -> list[_BlockWeights]:
    """Each block of a design with its weights, those with most entries first: no thread is to be left with one."""
    made: list[_BlockWeights] = []
    end = 0
    for block in design.blocks:
        start, end = end, end + block.shape[1]
        own = weights[start:end]
        made.append(_ProductWeights(block, own) if isinstance(block, Product) else _BlockWeights(block, own))
    return sorted(made, key=lambda block: -block.entries)
