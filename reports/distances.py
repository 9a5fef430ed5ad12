"""How far apart two distributions are, and how far apart chance alone would put them.

All distances are effect sizes: with many rows they settle at the true difference instead of growing as a test's
certainty does. They are defined as Evidently defines them, so that both say the same number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import scipy.sparse as sp

    from catalogs.policies import DriftMethod

__all__ = [
    "Floats",
    "Method",
    "distance",
    "earth_mover",
    "gathered",
    "null_of_bags",
    "null_of_counts",
    "null_of_values",
    "wasserstein",
]

Floats = NDArray[np.float64]
Method: TypeAlias = "DriftMethod | Literal['new_share']"
"""The distances of the catalogue's TOML, and the share of what is new: not of two mixes alike, so not to be chosen."""

# Evidently's stand-in for a share of zero, which would make PSI infinite.
_PSI_FLOOR = 1e-4
# Evidently's least spread to divide a Wasserstein distance by.
_LEAST_SPREAD = 1e-3
# Values are gathered into so many quantile bins before they are shuffled: finer than any threshold.
_MOST_SUPPORT = 512
# Shuffles of bags worked on at once: rows x 32 floats stay in tens of MiB.
_SHUFFLES_AT_ONCE = 32


def distance(method: Method, reference: Floats, current: Floats) -> Floats:
    """Distance between two sets of counts, along the last axis; 0 for equal shares.

    Args:
        method: jensenshannon (natural logarithm, at most √ln 2 ≈ 0.83), hellinger (at most 1), psi (no bound) or
            new_share (share of the current counts in categories that the reference has none of).
        reference: counts, shape (..., categories).
        current: counts, the same shape.

    Returns:
        Shape (...); NaN where one side has no counts at all.
    """
    if method == "new_share":
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(reference == 0, current, 0).sum(axis=-1) / current.sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = reference / reference.sum(axis=-1, keepdims=True)
        q = current / current.sum(axis=-1, keepdims=True)
    if method == "psi":
        p, q = _floored(p), _floored(q)
        return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))
    if method == "hellinger":
        return np.asarray(np.sqrt(1 - np.clip(np.sqrt(p * q).sum(axis=-1), 0, 1)))
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)).sum(axis=-1) / 2
    return np.asarray(np.sqrt(np.maximum(divergence, 0)))


def wasserstein(reference: Floats, current: Floats) -> float:
    """Mean distance that values have to travel, in standard deviations of the reference."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(reference, current)) / max(float(np.std(reference)), _LEAST_SPREAD)


def earth_mover(support: Floats, reference: Floats, current: Floats) -> Floats:
    """`wasserstein` of counts over sorted `support` values, along the last axis."""
    with np.errstate(invalid="ignore", divide="ignore"):  # a side without values has no distance: NaN
        p = reference / reference.sum(axis=-1, keepdims=True)
        q = current / current.sum(axis=-1, keepdims=True)
    travelled = (np.abs(np.cumsum(p - q, axis=-1))[..., :-1] * np.diff(support)).sum(axis=-1)
    mean = (p * support).sum(axis=-1)
    variance = np.maximum((p * support**2).sum(axis=-1) - mean**2, 0)
    return np.asarray(travelled / np.maximum(np.sqrt(variance), _LEAST_SPREAD))


def null_of_counts(
    method: Method, reference: Floats, current: Floats, *, shuffles: int, rng: np.random.Generator
) -> Floats:
    """Distances after dealing the pooled rows out again at random, `shuffles` times, at the same sample sizes.

    Shuffling rows that each have one category is a draw from a multivariate hypergeometric distribution of the counts.
    """
    dealt_reference, dealt_current = _deal(reference + current, int(current.sum()), shuffles, rng)
    return distance(method, dealt_reference, dealt_current)


def null_of_values(reference: Floats, current: Floats, *, shuffles: int, rng: np.random.Generator) -> Floats:
    """`wasserstein` after dealing the pooled values out again at random, `shuffles` times."""
    support, counts = gathered(np.sort(np.concatenate([reference, current])))
    if len(support) < 2:  # all values are the same
        return np.zeros(shuffles)
    return earth_mover(support, *_deal(counts, len(current), shuffles, rng))


def null_of_bags(
    method: Method, bags: sp.csr_array, n_current: int, *, shuffles: int, rng: np.random.Generator
) -> Floats:
    """As `null_of_counts` for rows that hold several categories each: whole rows are dealt out, not single words.

    Args:
        method: see `distance`.
        bags: pooled rows x categories.
        n_current: rows of the current side.
        shuffles: how often.
        rng: source of chance.
    """
    rows = bags.shape[0]
    total = np.asarray(bags.sum(axis=0), dtype=np.float64).ravel()
    transposed = bags.T.tocsr().astype(np.float32)
    found: list[Floats] = []
    for start in range(0, shuffles, _SHUFFLES_AT_ONCE):
        hands = np.zeros((rows, min(_SHUFFLES_AT_ONCE, shuffles - start)), dtype=np.float32)
        for hand in hands.T:
            hand[rng.choice(rows, n_current, replace=False)] = 1
        current = (transposed @ hands).T.astype(np.float64)
        found.append(distance(method, total - current, current))
    return np.concatenate(found)


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    from scipy.special import rel_entr

    return np.asarray(rel_entr(p, q), dtype=np.float64)


def _floored(shares: Floats) -> Floats:
    """Shares with zeros replaced as Evidently does: 0.0001, or a millionth of the least share where that is smaller."""
    least = np.where(shares > 0, shares, np.inf).min(axis=-1, keepdims=True)
    return np.where(shares == 0, np.where(least <= _PSI_FLOOR, least / 10**6, _PSI_FLOOR), shares)


def _deal(pooled: Floats, n_current: int, shuffles: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    current = rng.multivariate_hypergeometric(pooled.astype(np.int64), n_current, size=shuffles, method="marginals")
    return pooled - current, current.astype(np.float64)


def gathered(ordered: Floats) -> tuple[Floats, Floats]:
    """Sorted values as (support, counts): each distinct value, or the means of quantile bins when there are many."""
    support, counts = np.unique(ordered, return_counts=True)
    if len(support) <= _MOST_SUPPORT:
        return support, counts.astype(np.float64)
    starts = np.linspace(0, len(ordered), _MOST_SUPPORT, endpoint=False).astype(np.int64)
    sizes = np.diff(np.append(starts, len(ordered))).astype(np.float64)
    return np.add.reduceat(ordered, starts) / sizes, sizes
