"""Answers to products, in order: plain rows where they are few, a frame where they are many, the same JSON of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

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

    rows: list[dict[str, Any]] | pl.DataFrame

    def __len__(self) -> int:
        """Products that were answered."""
        return len(self.rows)

    def column(self, name: str) -> list[Any]:
        """One value of each answer."""
        if isinstance(self.rows, pl.DataFrame):
            return self.rows[name].to_list()
        return [row[name] for row in self.rows]

    def part(self, start: int, count: int) -> Answers:
        """Some consecutive answers."""
        rows = self.rows
        return Answers(rows.slice(start, count) if isinstance(rows, pl.DataFrame) else rows[start : start + count])

    def json(self) -> bytes:
        """A JSON array of objects."""
        if isinstance(self.rows, pl.DataFrame):
            return self.rows.select(COLUMNS).write_json().encode()
        return orjson.dumps(self.rows)

    def json_lines(self, numbers: Sequence[int]) -> list[bytes]:
        """One JSON object a line, each with its `line`."""
        if isinstance(self.rows, pl.DataFrame):
            numbered = self.rows.select(pl.Series("line", numbers, dtype=pl.Int64), *COLUMNS)
            return numbered.write_ndjson().encode().splitlines(keepends=True)
        option = orjson.OPT_APPEND_NEWLINE
        return [
            orjson.dumps({"line": number, **row}, option=option) for number, row in zip(numbers, self.rows, strict=True)
        ]
