"""Label paths as a tree: which labels share the node of each level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tree"]

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """Labels as paths, and the nodes above them.

    Attributes:
        paths: the labels, distinct and sorted level by level, so that those below a node stand together; plain labels
            are paths of one level.
    """

    paths: list[list[str]]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def depth(self) -> int:
        """Levels of the longest path."""
        return max(map(len, self.paths), default=0)

    @cached_property
    def nodes(self) -> tuple[Codes, ...]:
        """For each level, from the first on, the node of each label; a path that ends earlier is a node of its own."""
        found = []
        for depth in range(1, self.depth + 1):
            # A path that ends above this level must not share the node of those that go on below it.
            keys = [(*path[:depth], *([None] if len(path) < depth else [])) for path in self.paths]
            place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
            found.append(np.array([place[key] for key in keys], dtype=np.int64))
        return tuple(found)

    def names(self, level: int) -> list[list[str]]:
        """The path to each node of a level (0 is the first); the whole path where that ends earlier."""
        first = np.unique(self.nodes[level], return_index=True)[1]
        return [self.paths[label][: level + 1] for label in first]

    @property
    def uppers(self) -> tuple[Codes, ...]:
        """`nodes` of every level but the last, where each label is a node."""
        return self.nodes[:-1]

    @cached_property
    def lengths(self) -> Codes:
        """Levels of each path."""
        return np.array([len(path) for path in self.paths], dtype=np.int64)
