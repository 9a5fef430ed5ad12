"""From scores to confidences that mean what they say: of products at 0.9, nine in ten are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier.tree import Tree

if TYPE_CHECKING:
    from sklearn.isotonic import IsotonicRegression

__all__ = ["Calibration", "Curve", "Ranked", "calibration_error", "fit_calibration"]


@dataclass(frozen=True)
class Ranked:
    """The best two labels of each product.

    Attributes:
        label: index of the best label.
        runner_up: index of the second best.
        confidence: calibrated probability that the best is right, as a whole.
        runner_up_confidence: share of what is left that the second best has.
        path_confidence: products × levels: the probability that the label is right down to that level, never rising
            with depth; not a number below the end of the path.
    """

    label: NDArray[np.int64]
    runner_up: NDArray[np.int64]
    confidence: NDArray[np.float64]
    runner_up_confidence: NDArray[np.float64]
    path_confidence: NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Log-odds to confidence.

    Attributes:
        knots: log-odds after the softmax, increasing; the first are those of a model that knows nothing.
        values: share that was right there, not decreasing. Between knots it is linear, beyond them constant.
    """

    knots: NDArray[np.float64]
    values: NDArray[np.float64]

    def __call__(self, odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Confidences at these log-odds."""
        return np.interp(odds, self.knots, self.values)

    def calibrator(self) -> IsotonicRegression:
        """The same curve as a fitted scikit-learn estimator."""
        from sklearn.isotonic import IsotonicRegression

        return IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(self.knots, self.values)


@dataclass(frozen=True)
class Calibration:
    """How scores become confidences.

    Attributes:
        tree: the labels.
        temperature: scores are multiplied by it before the softmax.
        curves: for each level of the labels, log-odds that the best label is right down to it → confidence.
    """

    tree: Tree
    temperature: float
    curves: tuple[Curve, ...]

    def rank(self, scores: NDArray[np.float32]) -> Ranked:
        """The best two labels of each row of scores, with calibrated confidences."""
        found = _best(scores, self.temperature, self.tree)
        levels = np.empty((len(scores), self.tree.depth))
        for level, (curve, odds) in enumerate(zip(self.curves, found.odds, strict=True)):
            levels[:, level] = curve(odds)
        confidence = levels[:, 0]
        if self.tree.depth > 1:
            lengths = self.tree.lengths[found.label]
            beyond = np.arange(self.tree.depth) >= lengths[:, None]
            levels[beyond] = 0.0
            # What is right down to a level is right down to those above it.
            levels = np.maximum.accumulate(levels[:, ::-1], axis=1)[:, ::-1]
            confidence = levels[np.arange(len(levels)), lengths - 1]
            levels[beyond] = np.nan
        # The runner-up keeps its share of what the best label leaves, and never overtakes it.
        runner_up_confidence = np.minimum((1.0 - confidence) * found.share, confidence)
        return Ranked(found.label, found.runner_up, confidence, runner_up_confidence, levels)

    def top(self, scores: NDArray[np.float32], most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The best `most` labels of each row, best first, with their confidences (rows × labels each).

        The first two are those of `rank`; every other label has its share of what the best one leaves, too.
        """
        ranked = self.rank(scores)
        rows = np.arange(len(scores))[:, None]
        best = ranked.label[:, None]
        powers = np.exp((scores - scores[rows, best]) * np.float32(self.temperature)).astype(np.float64)
        np.put_along_axis(powers, best, np.inf, axis=1)
        order = np.argsort(-powers, axis=1, kind="stable")[:, :most]
        np.put_along_axis(powers, best, 0.0, axis=1)
        left = 1.0 - ranked.confidence[:, None]
        confidence = left * powers[rows, order] / np.maximum(powers.sum(axis=1, keepdims=True), _LEAST)
        confidence = np.minimum(confidence, ranked.confidence[:, None])
        confidence[:, 0] = ranked.confidence
        return order, confidence


def fit_calibration(
    scores: NDArray[np.float32], truth: NDArray[np.int64], tree: Tree, learnt: NDArray[np.bool_] | None = None
) -> Calibration:
    """Fit on out-of-fold scores (rows × labels) and the index of the right label of each row.

    `learnt` says of which rows the label had been taught at all; the others count as wrong, which they are, but say
    nothing of the temperature. None: of all.

    A temperature by log loss, then for each level isotonic regression of "the best label is right down to here" on its
    log-odds.
    """
    told = slice(None) if learnt is None or learnt.all() else learnt
    temperature = _best_temperature(scores[told], truth[told])
    found = _best(scores, temperature, tree)
    curves = []
    for level, (nodes, odds) in enumerate(zip(tree.nodes, found.odds, strict=True)):
        reached = tree.lengths[found.label] > level
        right = nodes[found.label] == nodes[truth]
        curves.append(_fitted_curve(odds[reached], right[reached], int(nodes.max()) + 1))
    return Calibration(tree, temperature, tuple(curves))


def _fitted_curve(odds: NDArray[np.float64], right: NDArray[np.bool_], nodes: int) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    if nodes == 1:
        return Curve(np.zeros(1), np.ones(1))  # one node for all: whatever is said, it is right so far
    odds_of_chance = -np.log(nodes - 1.0)
    # Two made-up rows at either end, one right and one wrong, keep confidences off 0 and 1, where no finite number of
    # rows can prove them to be (Laplace's rule of succession).
    highest = odds.max(initial=odds_of_chance)
    odds = np.concatenate([odds, [odds_of_chance, odds_of_chance, highest, highest]])
    hits = np.concatenate([right.astype(np.float64), [0, 1, 0, 1]])
    order = np.argsort(odds, kind="stable")
    odds = odds[order]
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(odds, hits[order]).predict(odds)
    seen = odds > odds_of_chance
    return Curve(*_curve(odds[seen], fitted[seen], odds_of_chance, 1.0 / nodes))


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
    the worst of them, which is high where the labels are easy. Middles make the curve rise instead of jumping. Only the
    last step is left as it is, but for a slope that keeps its mean: drawn from its middle down to the step before, a
    curve would take confidence from half of the surest rows and give it to none.
    """
    if not len(odds):
        return np.array([odds_of_chance]), np.array([chance])
    starts = np.flatnonzero(np.concatenate([[True], np.diff(fitted) > 0]))
    counts = np.diff(np.concatenate([starts, [len(fitted)]]))
    knots = np.concatenate([[odds_of_chance, odds[0]], np.add.reduceat(odds, starts) / counts])
    values = np.concatenate([[min(chance, fitted[0]), fitted[0]], fitted[starts]])
    if len(starts) > 1 and (sloped := _last_step(odds[starts[-1] :], fitted[-1], values[-2])):
        knots = np.concatenate([knots[:-1], [odds[starts[-1]], odds[-1]]])
        values = np.concatenate([values[:-1], sloped])
    is_new = np.concatenate([[True], np.diff(knots) > 0])
    return knots[is_new], values[is_new]


def _last_step(odds: NDArray[np.float64], value: float, before: float) -> tuple[float, float] | None:
    """Values at both ends of the last step, half way to the step before and to 1 at most; their mean is the step's."""
    below, above = odds.mean() - odds[0], odds[-1] - odds.mean()
    if below <= 0 or above <= 0:
        return None
    slope = min((value - before) / 2 / below, (1.0 - value) / 2 / above)
    return value - slope * below, value + slope * above


def _best_temperature(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """By log loss, against targets a little short of certain: without an error there would be no best one.

    The targets are Platt's (Probabilistic outputs for support vector machines, 1999): n rows prove (n + 1) / (n + 2).
    """
    from scipy.optimize import minimize_scalar

    if not len(truth):
        return 1.0
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


class _Best(NamedTuple):
    """The best label of each row, the second best, what odds the softmax gives the best, and the second's share.

    `odds`: for each level, log-odds that the label is right down to it. `share`: of all that the best label leaves.
    """

    label: NDArray[np.int64]
    runner_up: NDArray[np.int64]
    odds: list[NDArray[np.float64]]
    share: NDArray[np.float64]


def _best(scores: NDArray[np.float32], temperature: float, tree: Tree) -> _Best:
    rows = np.arange(len(scores))
    label = scores.argmax(axis=1)
    # Distances to the best score: the softmax cannot overflow, and what is left beside it is not lost in rounding.
    powers = np.exp((scores - scores[rows, label][:, None]) * np.float32(temperature)).astype(np.float64)
    powers[rows, label] = -1.0
    runner_up = powers.argmax(axis=1)
    powers[rows, label] = 0.0
    others = np.maximum(powers.sum(axis=1), _LEAST)
    odds = [_node_odds(powers, label, nodes) for nodes in tree.uppers]
    return _Best(label, runner_up, [*odds, -np.log(others)], np.minimum(powers[rows, runner_up] / others, 1.0))


def _node_odds(powers: NDArray[np.float64], label: NDArray[np.int64], nodes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-odds of the label's node against all others; `powers` are those of the other labels, beside its own 1."""
    rows = np.arange(len(powers))
    starts = np.flatnonzero(np.diff(nodes, prepend=-1))  # labels of a node stand together
    sums = np.add.reduceat(powers, starts, axis=1)
    own = nodes[label]
    inside = 1.0 + sums[rows, own]
    sums[rows, own] = 0.0
    return np.asarray(np.log(inside) - np.log(np.maximum(sums.sum(axis=1), _LEAST)))


_LEAST = 1e-9
"""Odds against the best label are not told apart below this."""
