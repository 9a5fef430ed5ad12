"""From scores to confidences that mean what they say: of products at 0.9, nine in ten are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
        knots: log-odds of the best label after the softmax, increasing; the first are those of a model that knows
            nothing.
        values: share that was right there, not decreasing. Between knots it is linear, beyond them constant.
    """

    temperature: float
    knots: NDArray[np.float64]
    values: NDArray[np.float64]

    def rank(self, scores: NDArray[np.float32]) -> Ranked:
        """The best two labels of each row of scores, with calibrated confidences."""
        label, runner_up, odds, share = _top_two(scores, self.temperature)
        confidence = np.interp(odds, self.knots, self.values)
        # The runner-up keeps its share of what the best label leaves, and never overtakes it.
        runner_up_confidence = np.minimum((1.0 - confidence) * share, confidence)
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
    label, _, odds, _ = _top_two(scores, temperature)
    right = (label == truth).astype(np.float64)
    chance = 1.0 / scores.shape[1]
    odds_of_chance = -np.log(scores.shape[1] - 1.0)
    # Two made-up rows at either end, one right and one wrong, keep confidences off 0 and 1, where no finite number of
    # rows can prove them to be (Laplace's rule of succession).
    ends = np.array([odds_of_chance, odds_of_chance, odds.max(), odds.max()])
    odds, right = np.concatenate([odds, ends]), np.concatenate([right, [0, 1, 0, 1]])
    order = np.argsort(odds, kind="stable")
    odds = odds[order]
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(odds, right[order]).predict(odds)
    seen = odds > odds_of_chance
    return Calibration(temperature, *_curve(odds[seen], fitted[seen], odds_of_chance, chance))


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error over bins of equally many rows: mean distance of confidence and share right."""
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(confidence[part].mean() - right[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / max(len(confidence), 1))


def _curve(
    odds: NDArray[np.float64], fitted: NDArray[np.float64], odds_of_chance: float, chance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots and values: from chance to the lowest score that was seen, then through the middle of each step.

    Rows that were seen say nothing of text that is unlike all of them: a constant end would give it the confidence of
    the worst of them, which is high where the labels are easy. Middles make the curve rise instead of jumping.
    """
    if not len(odds):
        return np.array([odds_of_chance]), np.array([chance])
    starts = np.flatnonzero(np.concatenate([[True], np.diff(fitted) > 0]))
    counts = np.diff(np.concatenate([starts, [len(fitted)]]))
    knots = np.concatenate([[odds_of_chance, odds[0]], np.add.reduceat(odds, starts) / counts])
    values = np.concatenate([[min(chance, fitted[0]), fitted[0]], fitted[starts]])
    is_new = np.concatenate([[True], np.diff(knots) > 0])
    return knots[is_new], values[is_new]


def _best_temperature(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """By log loss, against targets a little short of certain: without an error there would be no best one.

    The targets are Platt's (Probabilistic outputs for support vector machines, 1999): n rows prove (n + 1) / (n + 2).
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(truth))
    doubt = 1.0 / (len(truth) + 2.0)
    others = max(scores.shape[1] - 1, 1)

    def loss(log_temperature: float) -> float:
        scaled = scores * np.float32(np.exp(log_temperature))
        top = scaled.max(axis=1)
        spread = np.log(np.exp(scaled - top[:, None]).sum(axis=1, dtype=np.float64)) + top
        own = scaled[rows, truth].astype(np.float64)
        rest = (scaled.sum(axis=1, dtype=np.float64) - own) / others
        return float(np.mean(spread - (1.0 - doubt) * own - doubt * rest))

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded").x))


def _top_two(
    scores: NDArray[np.float32], temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Best and second label, log-odds of the best after the softmax, and the second's share of all others."""
    rows = np.arange(len(scores))
    label = scores.argmax(axis=1)
    # Distances to the best score: the softmax cannot overflow, and what is left beside it is not lost in rounding.
    powers = np.exp((scores - scores[rows, label][:, None]) * np.float32(temperature)).astype(np.float64)
    powers[rows, label] = -1.0
    runner_up = powers.argmax(axis=1)
    powers[rows, label] = 0.0
    others = np.maximum(powers.sum(axis=1), _LEAST)
    return label, runner_up, -np.log(others), np.minimum(powers[rows, runner_up] / others, 1.0)


_LEAST = 1e-9
"""Odds against the best label are not told apart below this."""
