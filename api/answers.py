"""Answers to products, in order, and their JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["COLUMNS", "Answers"]

COLUMNS = (
    "product_id",
    "label",
    "label_path",
    "confidence",
    "predicted_path",
    "depth",
    "decision",
    "confidence_path",
    "runner_up",
    "runner_up_confidence",
    "reasons",
    "model_version",
)
"""Keys of an answer, in order."""


@dataclass(frozen=True)
class Answers:
    """What a champion said of some products.

    Attributes:
        rows: one a product, with COLUMNS.
    """

    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        """Products that were answered."""
        return len(self.rows)

    def column(self, name: str) -> list[Any]:
        """One value of each answer."""
        return [row[name] for row in self.rows]

    def part(self, start: int, count: int) -> Answers:
        """Some consecutive answers."""
        return Answers(self.rows[start : start + count])

    def json(self) -> bytes:
        """A JSON array of objects."""
        return orjson.dumps(self.rows)

    def json_lines(self, numbers: Sequence[int]) -> list[bytes]:
        """One JSON object a line, each with its `line`."""
        option = orjson.OPT_APPEND_NEWLINE
        return [
            orjson.dumps({"line": number, **row}, option=option) for number, row in zip(numbers, self.rows, strict=True)
        ]
