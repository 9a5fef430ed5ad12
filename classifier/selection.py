"""Which products a person should look at: those that the model is least sure of, and of each kind of text some."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from classifier.text_vectoriser import TextVectoriser

__all__ = ["CANDIDATES_A_PLACE", "most_useful"]

CANDIDATES_A_PLACE = 10
"""So many of the least sure products compete for each place in the selection."""

_MOST_GROUPS = 200
"""Kinds of text that are told apart at most: beyond, several are taken of each."""
_DIMENSIONS = 50
"""Of the space in which texts are compared."""
_MOST_WORDS = 20_000
_STARTS = 3
"""Groupings from other first centres, of which the best is kept: with one, kinds are easily taken together."""
_MOST_STEPS = 30


def most_useful(texts: pl.Series, confidence: ArrayLike, most: int, seed: int) -> NDArray[np.int64]:
    """Positions of the `most` candidates that are worth most to label, those that are worth most first.

    The texts are grouped (k-means in a space of their words), and the least sure of each group are taken in turn, so
    that no kind of product fills the selection: the least sure are often many of one thing that the model has not met.

    Args:
        texts: of the candidates.
        confidence: how sure the model is of each.
        most: places in the selection.
        seed: of the grouping; the same candidates in the same order and the same seed give the same selection.
    """
    sureness = np.asarray(confidence, dtype=np.float64)
    groups = _groups(texts, min(most, _MOST_GROUPS), seed)
    order = np.lexsort((np.arange(len(sureness)), sureness))
    # Of each group the first round takes the least sure one, the second the next, and so on.
    rounds = np.empty(len(order), dtype=np.int64)
    rounds[order] = pl.DataFrame({"group": groups[order]}).select(pl.int_range(pl.len()).over("group")).to_series()
    return np.lexsort((np.arange(len(sureness)), sureness, rounds))[:most]


def _groups(texts: pl.Series, count: int, seed: int) -> NDArray[np.int64]:
    """The group of each text: at most so many, all in one where the texts have no words in common."""
    if count < 2 or len(texts) <= count:
        return np.arange(len(texts)) if count > 1 else np.zeros(len(texts), dtype=np.int64)
    try:
        words = TextVectoriser(min_df=2, max_features=_MOST_WORDS, sublinear_tf=True).fit_transform(texts)
    except ValueError:  # no word that two of them share
        return np.zeros(len(texts), dtype=np.int64)
    dimensions = min(_DIMENSIONS, *words.shape)
    with threadpool_limits(1):  # threads add up in any order, which now and then decides on a group
        space = normalize(TruncatedSVD(dimensions, random_state=seed).fit_transform(words))
        means = KMeans(count, random_state=seed, n_init=_STARTS, max_iter=_MOST_STEPS)
        return np.asarray(means.fit_predict(space), dtype=np.int64)
