"""Step: the rows to train on and the frozen hold-out, never sharing an id or a text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import polars as pl

from catalogs import registry
from catalogs.product import join_paths
from catalogs.spec import CatalogSpec
from classifier.holdout import holdout_mask
from classifier.model import distinct_labels
from classifier.recipes import Recipe, resolve
from classifier.space import not_read
from core.errors import NotEnoughLabels
from core.orchestration import step
from reports.validation import reason_kinds
from warehouse.places import places
from warehouse.runs import Run, joined
from warehouse.scoring import training_rows

REJECTS_SEEN = 10_000
"""Rejected rows that are looked at for the commonest reason."""


@dataclass(frozen=True)
class Split:
    """Labelled rows of both sides, and the recipe that will see them; sentences on parameters that it will not read."""

    recipe: Recipe
    train: pl.DataFrame
    holdout: pl.DataFrame
    unread: list[str] = field(default_factory=list)

    @property
    def data_digest(self) -> str:
        """What is trained on: sha256 over the hashes of its rows and their labels, in order."""
        hashed = hashlib.sha256()
        for row_hash, label in zip(self.train["row_hash"], self.train.select(join_paths()).to_series(), strict=True):
            hashed.update(f"{row_hash}\x1f{label}\x1e".encode())  # a person's label is not in the row
        return hashed.hexdigest()


@step("split rows")
def split_rows(run_id: str, recipe: str | None, overrides: dict[str, str] | None) -> Split:
    """Labelled current products in first-seen order, split by a digest of their text; a prototype trains on all.

    Raises:
        NotEnoughLabels, OneClass: no product has a label, or those to train on teach nothing. Said here, before any
            of them is looked at closer.
        UnknownRecipe: no such recipe or parameter.
    """
    run = joined(run_id)
    spec = registry.load(run.catalog)
    chosen = resolve(spec, recipe, overrides)
    rows = training_rows(run, spec)
    if rows.is_empty():
        raise _nothing_to_learn(run, spec)
    held = holdout_mask(rows["text_hash"], 0.0 if chosen.is_prototype else spec.holdout.share)
    train = rows.filter(~held)
    split = Split(chosen, train, rows.filter(held), not_read([chosen], overrides or {}, train.height))
    distinct_labels(split.train, spec)
    return split


def _nothing_to_learn(run: Run, spec: CatalogSpec) -> NotEnoughLabels:
    """The error for no labelled product; where rows were rejected, it may be for that."""
    products = places(run)["current"]
    having = "product with a label" if products else "product"
    hint = f"ingest a file with labels first: aisle ingest {run.catalog} SOURCE"
    newest = run.scan("rejects").filter(pl.col("run_id") == pl.col("run_id").max())
    rejects = newest.select("reasons").head(REJECTS_SEEN).collect()
    if rejects.height:
        number = newest.select(pl.len()).collect().item()
        most_often = next(iter(reason_kinds(rejects)))
        hint += f"; of the rows ingested last {number:,} were rejected, most often: {most_often}"
    return NotEnoughLabels(
        f"catalogue {run.catalog} has no {having} to learn from", where=f"column {', '.join(spec.levels)}", hint=hint
    )
