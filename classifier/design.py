"""The design matrix: training rows × features. Its wide subword part is only multiplied out a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["Block", "Design", "Product"]


@dataclass(frozen=True)
class Product:
    """A sum of products left @ right, kept apart: words × their subwords are ten times the entries of the words.

    Attributes:
        lefts: matrices of training rows × words.
        rights: for each a matrix of words × columns.
    """

    lefts: tuple[sp.csr_matrix, ...]
    rights: tuple[sp.csr_matrix, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.lefts[0].shape[0], self.rights[0].shape[1]

    @property
    def nnz(self) -> int:
        """About how many entries there are, multiplied out; n-grams that words share count several times."""
        widths = [
            np.diff(right.indptr)[left.indices].sum() for left, right in zip(self.lefts, self.rights, strict=True)
        ]
        return int(sum(widths))

    def __getitem__(self, rows: NDArray[np.int64]) -> sp.csr_matrix:
        return sum(left[rows] @ right for left, right in zip(self.lefts, self.rights, strict=True))


Block: TypeAlias = sp.csr_matrix | Product


@dataclass(frozen=True)
class Design:
    """Blocks side by side, and the rows of them that count.

    They stay apart, and are put together a batch at a time: all at once would take the memory of a second matrix, which
    nothing else in a training asks for.

    Attributes:
        blocks: all of the same number of rows.
        rows: which rows, in order; None for all.
    """

    blocks: Sequence[Block]
    rows: NDArray[np.int64] | None = field(default=None)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows = self.blocks[0].shape[0] if self.rows is None else len(self.rows)
        return rows, sum(block.shape[1] for block in self.blocks)

    @property
    def nnz(self) -> int:
        """About how many entries there are."""
        share = self.shape[0] / max(self.blocks[0].shape[0], 1)
        return round(share * sum(block.nnz for block in self.blocks))

    def subset(self, rows: NDArray[np.int64]) -> Design:
        """Some rows; nothing is copied."""
        return replace(self, rows=self.numbers(rows))

    def numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which rows of the blocks some rows are."""
        return rows if self.rows is None else self.rows[rows]

    def __getitem__(self, rows: NDArray[np.int64]) -> sp.csr_matrix:
        """Some rows, multiplied out."""
        own = self.numbers(rows)
        parts = [block[own] for block in self.blocks]
        return parts[0] if len(parts) == 1 else sp.hstack(parts, format="csr", dtype=np.float32)

    def sums_by_label(self, codes: NDArray[np.int64], labels: int) -> NDArray[np.float32]:
        """The sum of each label's rows (labels × columns); the products are never multiplied out."""
        own = np.arange(len(codes)) if self.rows is None else self.rows
        ones = np.ones(len(codes), dtype=np.float32)
        indicator = sp.csr_matrix((ones, (codes, own)), shape=(labels, self.blocks[0].shape[0]))
        return np.hstack([_sums(block, indicator) for block in self.blocks])

    def whole(self) -> sp.csr_matrix:
        """All rows, multiplied out."""
        return self[np.arange(self.shape[0])]


def _sums(block: Block, indicator: sp.csr_matrix) -> NDArray[np.float32]:
    if not isinstance(block, Product):
        return np.asarray((indicator @ block).toarray())
    parts = zip(block.lefts, block.rights, strict=True)
    return np.asarray(sum((indicator @ left) @ right for left, right in parts).toarray())
