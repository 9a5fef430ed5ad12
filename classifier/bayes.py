"""Complement naive Bayes beside a linear model: what it counts is worth a little to what the linear model has learnt.

Both are linear in the tokens, so their weighted sum is one more linear model: it predicts as fast, and its reasons are
as exact. What it adds on each real set stands in benchmarks/results/accuracy.md.

Rennie, Shih, Teevan and Karger, Tackling the poor assumptions of naive Bayes text classifiers, ICML 2003.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from classifier.design import Design
from classifier.parts import Array

__all__ = ["blend"]

# Added to every count. Of .01 to .3 this was best on the real sets, by little.
_ALPHA = 0.03
# Rows on which the spread of both models' scores is measured.
_MEASURED_ROWS = 5_000


def blend(coefficients: Array, design: Design, codes: NDArray[np.int64], weight: float) -> Array:
    """Coefficients (features × labels) with those of complement naive Bayes added.

    Args:
        coefficients: of the linear model.
        design: the rows that it was fitted on.
        codes: label of each row.
        weight: how far Bayes' scores spread on these rows, where the linear model's spread 1.
    """
    bayes = _complement(design.sums_by_label(codes, coefficients.shape[1]))
    rows = np.unique(np.linspace(0, len(codes) - 1, _MEASURED_ROWS).astype(np.int64))
    sample = design[rows]
    spread = float((sample @ bayes).std())
    if not spread:
        return coefficients
    bayes *= np.float32(weight * float((sample @ coefficients).std()) / spread)
    bayes += coefficients
    return bayes


def _complement(sums: Array) -> Array:
    """How much rarer than elsewhere each token is outside a label: features × labels, each row summing to 0."""
    counts = np.ascontiguousarray(sums.T)
    total = counts.sum(axis=1, keepdims=True)
    np.subtract(total + np.float32(_ALPHA), counts, out=counts)
    # Rounding may leave a little less than nothing of a token that one label has for itself.
    np.maximum(counts, np.float32(_ALPHA), out=counts)
    counts /= counts.sum(axis=0, dtype=np.float64).astype(np.float32)
    np.log(counts, out=counts)
    np.negative(counts, out=counts)
    counts -= counts.mean(axis=1, keepdims=True)
    return counts
