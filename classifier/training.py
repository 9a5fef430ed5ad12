"""Out-of-fold scoring: what a model says of rows it was not fitted on, for calibration and thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from classifier.design import Design, Product
from classifier.holdout import folds, nested_mask
from classifier.linear import fit_linear, settled
from classifier.parts import Array
from classifier.recipes import RecipeParams
from classifier.tokens import batches
from classifier.tree import Tree

__all__ = ["Layout", "OutOfFold", "out_of_fold", "split"]


_BATCH_ROWS = 8_192
# Scores of a fold that are held, rows × labels: 80 MB, and some times as much while they are calibrated. A large fold
# of many labels is scored in part, though never fewer rows than `calibration.most_rows`.
_MOST_SCORES = 20_000_000


@dataclass(frozen=True)
class Layout:
    """How the columns of a design matrix belong together.

    Attributes:
        ends: one past the last column of each field.
        droppable: for each column, whether its token would not count towards the field's length had training not shown
            it.
        lengths: Euclidean length of each field's vector.
    """

    ends: NDArray[np.int64]
    droppable: NDArray[np.bool_]
    lengths: NDArray[np.float64]


@dataclass(frozen=True)
class OutOfFold:
    """Scores of training rows by models that were not fitted on them.

    Attributes:
        rows: which training rows were scored.
        scores: rows × labels. Labels that the row's fold did not teach have the lowest score of the others.
        learnt: for each row whether its own label was taught: with the last row of a label held out, it was not.
    """

    rows: NDArray[np.int64]
    scores: Array
    learnt: NDArray[np.bool_]

    @classmethod
    def of(cls, parts: list[OutOfFold], labels: int) -> OutOfFold:
        """All folds together; there may be none."""
        if not parts:
            return cls(np.empty(0, np.int64), np.empty((0, labels), np.float32), np.empty(0, np.bool_))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "scores", "learnt")))

    @classmethod
    def of_fold(
        cls, rows: NDArray[np.int64], scores: Array, codes: NDArray[np.int64], others: NDArray[np.int64]
    ) -> OutOfFold:
        """One fold: its rows, their scores (changed in place), the label of every row, and which rows taught."""
        taught = np.zeros(scores.shape[1], dtype=bool)
        taught[codes[others]] = True
        if not taught.all():
            scores[:, ~taught] = scores[:, taught].min(axis=1, keepdims=True)
        return cls(rows, scores, taught[codes[rows]])


def split(
    text_hash: pl.Series, count: int, codes: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each fold its rows and all others. Folds that are empty, or leave fewer than two labels, are passed over."""
    fold = folds(text_hash, count)
    for number in range(count):
        rows, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        if len(rows) and len(np.unique(codes[others])) >= 2:
            yield rows, others


def out_of_fold(
    design: Design,
    layout: Layout,
    codes: NDArray[np.int64],
    tree: Tree,
    text_hash: pl.Series,
    params: RecipeParams,
    seed: int,
) -> OutOfFold:
    """Score every fold by a model of the others; rows of the same text are in one fold.

    Args:
        design: rows × features.
        layout: how the columns of `design` belong together.
        codes: label of each row.
        tree: the labels.
        text_hash: digest of each row's text.
        params: parameters of the recipe.
        seed: seed of the solver.
    """
    # Whatever solver fits all rows fits the folds too, which are smaller: their scores must be those of its like.
    linear_params = settled(params.model, design.shape[0], design.nnz)
    most = max(params.calibration.most_rows, _MOST_SCORES // len(tree))
    parts: list[OutOfFold] = []
    scored = 0
    for rows, others in split(text_hash, params.calibration.folds, codes):
        train = design.subset(others)
        linear = fit_linear(train, codes[others], len(tree), linear_params, seed, tree.uppers)
        seen = _seen(train)
        # A part is as large as asked but for luck: falling a little short is no reason to fit another fold.
        scored += min(len(rows), most)
        rows = rows[nested_mask(text_hash.gather(rows), min(most / len(rows), 1.0)).to_numpy()]
        scores = np.empty((len(rows), len(tree)), dtype=np.float32)
        for own in batches(len(rows), _BATCH_ROWS):
            held = _as_if_new(design[rows[own]], seen, layout)
            scores[own] = held @ linear.coefficients + linear.intercept
        parts.append(OutOfFold.of_fold(rows, scores, codes, others))
        if scored >= params.calibration.most_rows:
            break
    return OutOfFold.of(parts, len(tree))


def _seen(design: Design) -> NDArray[np.bool_]:
    """Which columns occur in the rows of a design; those of subwords count as seen, since they cannot drop out."""
    seen = []
    for block in design.blocks:
        own = np.full(block.shape[1], isinstance(block, Product))
        if not isinstance(block, Product):
            rows = np.arange(block.shape[0]) if design.rows is None else design.rows
            for part in batches(len(rows), _BATCH_ROWS):
                own[block[rows[part]].indices] = True
        seen.append(own)
    return np.concatenate(seen)


def _as_if_new(held: sp.csr_matrix, seen: NDArray[np.bool_], layout: Layout) -> sp.csr_matrix:
    """Held-out rows as the fold's own vectoriser would give them: without what its rows never showed, and scaled anew.

    Without this the scores come out lower than those of truly new products, which lose their unknown tokens before they
    are scaled, and confidences would not mean the same.
    """
    fields = len(layout.ends)
    rows = np.repeat(np.arange(held.shape[0]), np.diff(held.indptr))
    place = rows * fields + np.searchsorted(layout.ends, held.indices, side="right")
    dropped = layout.droppable[held.indices] & ~seen[held.indices]
    gone = np.bincount(place[dropped], held.data[dropped].astype(np.float64) ** 2, held.shape[0] * fields)
    before = np.tile(layout.lengths**2, held.shape[0])
    after = before - gone
    # A field of which nothing is left has a rounding error for a length.
    scale = np.sqrt(np.divide(before, after, out=np.zeros_like(before), where=after > 1e-6 * before))
    held.data *= np.where(dropped, 0.0, scale[place]).astype(np.float32)
    return held
