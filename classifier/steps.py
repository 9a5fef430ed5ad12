"""The loops of the solver's steps, compiled: from a batch's scores to the weights after it. Scores: `sums.add_product`.

A matrix of rows is where each row begins in its entries, their ids, and their values, as in CSR.
"""

from __future__ import annotations

import numpy as np

from classifier.compiled import Floats, Int32s, Int64s, Matrix, Weights, compiled

__all__ = ["descend", "distinct_ids", "gradient", "hinge", "narrow"]

_FREE = -1


@compiled
def distinct_ids(rows: Int64s, starts: Int64s, ids: Int32s, places: Int32s) -> Int64s:
    """Distinct ids of some rows, as they first come; `places`, which is -1 for each of them, says where each stands."""
    found = np.empty(1 << 10, np.int64)
    count = 0
    for row in rows:
        for at in range(starts[row], starts[row + 1]):
            if places[ids[at]] == _FREE:
                if count == len(found):
                    found = np.concatenate((found, np.empty(count, np.int64)))
                places[ids[at]] = count
                found[count] = ids[at]
                count += 1
    return found[:count].copy()


@compiled
def narrow(rows: Int64s, starts: Int64s, ids: Int32s, values: Floats, places: Int32s) -> tuple[Int64s, Int32s, Floats]:
    """Some rows as a matrix of their own, with places in the stead of ids."""
    begins = np.zeros(len(rows) + 1, np.int64)
    for number in range(len(rows)):
        begins[number + 1] = begins[number] + starts[rows[number] + 1] - starts[rows[number]]
    own = np.empty(begins[-1], np.int32)
    own_values = np.empty(begins[-1], values.dtype)
    for number in range(len(rows)):
        shift = starts[rows[number]] - begins[number]
        for at in range(begins[number], begins[number + 1]):
            own[at] = places[ids[at + shift]]
            own_values[at] = values[at + shift]
    return begins, own, own_values


@compiled
def hinge(scores: Matrix, codes: Int64s) -> Int64s:
    """Put the derivative of half the squared hinge loss in place of scores (rows × labels); rows where it is not 0.

    A row's own label (`codes`) is to score 1 and more, every other one -1 and less.
    """
    erring = np.empty(len(codes), np.int64)
    count = 0
    for row in range(len(codes)):
        own = min(scores[row, codes[row]] - np.float32(1), np.float32(0))
        errs = own < 0
        for label in range(scores.shape[1]):
            beyond = max(scores[row, label] + np.float32(1), np.float32(0))
            errs |= beyond > 0 and label != codes[row]
            scores[row, label] = beyond
        scores[row, codes[row]] = own
        if errs:
            erring[count] = row
            count += 1
    return erring[:count].copy()


@compiled
def gradient(
    rows: Int64s, starts: Int64s, ids: Int32s, values: Floats, residual: Weights, columns: Int64s, places: Int32s
) -> Matrix:
    """Sums over rows of value × residual for some columns (columns × labels).

    Args:
        rows: which rows of the matrix.
        starts: where each row of the matrix begins.
        ids: of the entries.
        values: of the entries.
        residual: one row for each of `rows`.
        columns: the distinct ids of these rows.
        places: where each stands among them; becomes -1 again for all of them.
    """
    labels = residual.shape[1]
    sums = np.zeros((len(columns), labels), np.float32)
    for number in range(len(rows)):
        row = rows[number]
        for at in range(starts[row], starts[row + 1]):
            place, value = places[ids[at]], values[at]
            for label in range(labels):
                sums[place, label] += value * residual[number, label]
    for column in columns:
        places[column] = _FREE
    return sums


@compiled
def descend(columns: Int64s, gradients: Weights, rate: float, weights: Matrix, squares: Floats) -> None:
    """One AdaGrad step on some columns' weights (all columns × labels), in place.

    `squares`, of all columns, has the squared gradients that each has seen, summed; the mean over labels.
    """
    labels = weights.shape[1]
    for number in range(len(columns)):
        column = columns[number]
        total = np.float32(0)
        for label in range(labels):
            total += gradients[number, label] * gradients[number, label]
        squares[column] += total / np.float32(labels)
        step = np.float32(rate / (1 + np.sqrt(np.float64(squares[column]))))
        for label in range(labels):
            weights[column, label] -= step * gradients[number, label]
