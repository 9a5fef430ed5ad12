"""From scores to confidences that mean what they say: of products at 0.9, nine in ten are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

if TYPE_CHECKING:
    from sklearn.isotonic import IsotonicRegression

__all__ = ["Calibration", "Ranked", "calibration_error", "fit_calibration"]


@dataclass(frozen=True)
class Ranked:
    """The best two labels of each product.

    Attributes:
        label: index of the best label.
        runner_up: index of the second best.
        confidence: calibrated probability that the best is right.
        runner_up_confidence: share of what is left that the second best has.
    """

    label: NDArray[np.int64]
    runner_up: NDArray[np.int64]
    confidence: NDArray[np.float64]
    runner_up_confidence: NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """How scores become confidences.

    Attributes:
        temperature: scores are multiplied by it before the softmax.
        knots: log-odds of the best label after the softmax, increasing.
        values: share that was right there, not decreasing. Between knots it is linear, beyond them constant.
    """

    temperature: float
    knots: NDArray[np.float64]
    values: NDArray[np.float64]

    def rank(self, scores: NDArray[np.float32]) -> Ranked:
        """The best two labels of each row of scores, with calibrated confidences."""
        label, runner_up, first, second = _top_two(scores, self.temperature)
        confidence = np.interp(_to_odds(first), self.knots, self.values)
        left = np.maximum(1.0 - first, 1e-300)
        # The runner-up keeps its share of what the best label leaves, and never overtakes it.
        runner_up_confidence = np.minimum((1.0 - confidence) * second / left, confidence)
        return Ranked(label, runner_up, confidence, runner_up_confidence)

    def calibrator(self) -> IsotonicRegression:
        """The same curve as a fitted scikit-learn estimator."""
        from sklearn.isotonic import IsotonicRegression

        return IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(self.knots, self.values)


def fit_calibration(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> Calibration:
    """Fit on out-of-fold scores (rows × labels) and the index of the right label of each row.

    A temperature by log loss, then isotonic regression of "the best label is right" on its log-odds.
    """
    from sklearn.isotonic import IsotonicRegression

    temperature = _best_temperature(scores, truth)
    label, _, first, _ = _top_two(scores, temperature)
    odds, right = _to_odds(first), (label == truth).astype(np.float64)
    # Two made-up rows at either end, one right and one wrong, keep confidences off 0 and 1, where no finite number of
    # rows can prove them to be (Laplace's rule of succession).
    ends = np.array([odds.min(), odds.min(), odds.max(), odds.max()])
    odds, right = np.concatenate([odds, ends]), np.concatenate([right, [0, 1, 0, 1]])
    order = np.argsort(odds, kind="stable")
    odds = odds[order]
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(odds, right[order]).predict(odds)
    knots, values = _middles(odds, fitted)
    return Calibration(temperature, knots, values)


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error over bins of equally many rows: mean distance of confidence and share right."""
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(confidence[part].mean() - right[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / max(len(confidence), 1))


def _middles(odds: NDArray[np.float64], fitted: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One knot in the middle of each step, so that the curve rises instead of jumping."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(fitted) > 0]))
    counts = np.diff(np.concatenate([starts, [len(fitted)]]))
    return np.add.reduceat(odds, starts) / counts, fitted[starts]


def _best_temperature(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = scores * np.float32(np.exp(log_temperature))
        top = scaled.max(axis=1)
        spread = np.log(np.exp(scaled - top[:, None]).sum(axis=1, dtype=np.float64)) + top
        return float(np.mean(spread - scaled[rows, truth]))

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded").x))


def _top_two(
    scores: NDArray[np.float32], temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    rows = np.arange(len(scores))
    label = scores.argmax(axis=1)
    without = scores.copy()
    without[rows, label] = -np.inf
    runner_up = without.argmax(axis=1)
    top = scores[rows, label]
    # Distances to the best score: the softmax cannot overflow.
    powers = np.exp((scores - top[:, None]) * np.float32(temperature))
    total = powers.sum(axis=1, dtype=np.float64)
    return label, runner_up, 1.0 / total, powers[rows, runner_up] / total


_EDGE = 1e-9


def _to_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, _EDGE, 1.0 - _EDGE)
    return np.asarray(np.log(clipped / (1.0 - clipped)))
