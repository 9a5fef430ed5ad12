"""Step: the rows to train on and the frozen hold-out, never sharing an id or a text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from catalogs import registry
from catalogs.product import join_paths
from classifier.holdout import holdout_mask
from classifier.model import distinct_labels
from classifier.recipes import Recipe, resolve
from core.errors import NotEnoughLabels
from core.orchestration import step
from warehouse.runs import joined
from warehouse.scoring import training_rows


@dataclass(frozen=True)
class Split:
    """Labelled rows of both sides, and the recipe that will see them."""

    recipe: Recipe
    train: pl.DataFrame
    holdout: pl.DataFrame

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
        raise NotEnoughLabels(
            f"catalogue {run.catalog} has no product with a label to learn from",
            where=f"column {', '.join(spec.levels)}",
            hint=f"ingest a file with labels first: aisle ingest {run.catalog} SOURCE",
        )
    held = holdout_mask(rows["text_hash"], 0.0 if chosen.is_prototype else spec.holdout.share)
    split = Split(chosen, rows.filter(~held), rows.filter(held))
    distinct_labels(split.train, spec)
    return split
