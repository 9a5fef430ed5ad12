"""The rows that the Great Expectations suite runs on: all of them, or a seeded sample taken while batches stream by."""

from __future__ import annotations

import io
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from expectations.checks import Check
from expectations.decide import failures
from expectations.rules import Rule, compile  # noqa: A004 - the field's word

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["MOST_ROWS", "SAMPLE_ROWS", "Sample", "asked"]

MOST_ROWS = 200_000
"""Up to so many rows Great Expectations looks at all: of a file that people may go through, nothing is left out."""

SAMPLE_ROWS = 50_000
"""Of more rows it looks at so many: Polars has decided all, and the suite holds a core for longer the more rows it has.
A kind of row on which the two disagree, if it is one in 10,000, is among these with a chance of 99 in 100; the same
rows and seed draw the same sample every time."""

SLACK = 1.5
"""So many times the rows that are to stay are held before the others go: choosing costs as much for one as for many."""

ROW = "row"


def asked(rules: Sequence[Rule]) -> list[tuple[str, Rule, Check]]:
    """Every check with its rule and the name of its column in the sample; equal values share a column."""
    columns: dict[str, pl.Expr] = {}
    found = []
    for rule in rules:
        for check in rule.checks:
            name = check.column
            while name in columns and not columns[name].meta.eq(check.value):
                name += "′"
            columns[name] = check.value
            found.append((name, rule, check))
    return found


class Sample:
    """A uniform sample of all rows added, the same for a seed however the rows were cut into batches.

    Every row draws a number, and the rows with the smallest numbers stay: memory is bounded by `most_rows` or SLACK
    times what stays of more, whichever is larger, and a batch.
    Only the values that rules ask about are kept, beside what the Polars expressions decided about the row.

    Args:
        spec: the catalogue.
        seed: of the draw.
        most_rows: rows up to which all are kept; of more, as many or SAMPLE_ROWS, whichever is less.
        rules: the catalogue's compiled rules, for callers that have them already.

    Attributes:
        seen: rows added.
        drawn: the numbers that the held rows drew.
        held: those rows, in parts: position, values and what Polars decided.
    """

    def __init__(
        self, spec: CatalogSpec, seed: int, most_rows: int = MOST_ROWS, rules: Sequence[Rule] | None = None
    ) -> None:
        self.name = spec.name
        self.rules = compile(spec) if rules is None else list(rules)
        self.most_rows = most_rows
        self.seed = seed
        self.seen = 0
        columns = {name: check.value for name, _, check in asked(self.rules)}
        self._values = [value.alias(name) for name, value in columns.items()]
        self._random = np.random.default_rng(seed)
        self.drawn = np.empty(0)
        self.held: list[pl.DataFrame] = []
        self._bar = np.inf

    @property
    def sampled(self) -> bool:
        """Whether rows were left out."""
        return self.seen > self.most_rows

    def add(self, frame: pl.DataFrame, broken: pl.DataFrame | None = None) -> None:
        """Take the rows of a canonical frame into account, good and bad.

        Args:
            frame: the rows.
            broken: what Polars decided about them, row by row (`failures` of `rules`), for callers that have asked.
        """
        broken = failures(frame, self.rules) if broken is None else broken.select(rule.name for rule in self.rules)
        drawn = self._random.random(frame.height)
        rows = pl.Series(ROW, np.arange(self.seen, self.seen + frame.height), dtype=pl.Int64)
        self.seen += frame.height
        if self._bar < np.inf:
            # Most rows of a long run cannot get in any more: don't even look at their values.
            chosen = drawn < self._bar
            drawn, mask = drawn[chosen], pl.Series(chosen)
            frame, broken, rows = frame.filter(mask), broken.filter(mask), rows.filter(mask)
        part = pl.concat(
            [
                rows.to_frame(),
                frame.with_columns(pl.struct(self._values).alias("values")).select("values"),
                broken.select(pl.struct(pl.all()).alias("broken")),
            ],
            how="horizontal",
        )
        self.drawn = np.concatenate([self.drawn, drawn])
        self.held = [*self.held, _alone(part)]
        if self.drawn.size > SLACK * self._most:
            self.trim()

    @classmethod
    def merged(cls, samples: Sequence[Sample]) -> Sample:
        """One sample of all rows that `samples` of one catalogue, each with a seed of its own, have seen, in order."""
        whole = copy(samples[0])
        for other in samples[1:]:
            whole.drawn = np.concatenate([whole.drawn, other.drawn])
            whole.held = whole.held + [part.with_columns(pl.col(ROW) + whole.seen) for part in other.held]
            whole.seen += other.seen
            whole.trim()
        return whole

    def trim(self) -> None:
        """Keep the rows that drew the smallest numbers."""
        if self.drawn.size > self._most:
            keep = np.sort(np.argpartition(self.drawn, self._most - 1)[: self._most])
            self.drawn = self.drawn[keep]
            self.held = [_alone(pl.concat(self.held)[keep])]
            self._bar = self.drawn.max()

    @property
    def _most(self) -> int:
        return min(self.most_rows, SAMPLE_ROWS) if self.sampled else self.most_rows

    @property
    def rows(self) -> pl.Series:
        """Positions of the kept rows among all that were added, from 0, ascending."""
        return self._frame()[ROW]

    @property
    def values(self) -> pl.DataFrame:
        """What the checks ask about, a column each (`asked`)."""
        return self._frame().select(pl.col("values").struct.unnest())

    @property
    def broken(self) -> pl.DataFrame:
        """What Polars decided: a boolean column a rule, True where it is broken."""
        return self._frame().select(pl.col("broken").struct.unnest())

    def _frame(self) -> pl.DataFrame:
        self.trim()
        if len(self.held) > 1:
            self.held = [pl.concat(self.held)]
        if not self.held:
            values = pl.Struct({value.meta.output_name(): pl.Null for value in self._values})
            broken = pl.Struct({rule.name: pl.Boolean for rule in self.rules})
            return pl.DataFrame(schema={ROW: pl.Int64, "values": values, "broken": broken})
        return self.held[0]


def _alone(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows, with texts of their own.

    Rows that are picked from a frame share its texts, all of them: one row of a batch would keep the whole batch in
    memory, and a sample of a long run all batches.
    """
    written = io.BytesIO()
    rows.write_ipc(written, compat_level=pl.CompatLevel.oldest())  # newer formats write what is shared
    written.seek(0)
    return pl.read_ipc(written)
