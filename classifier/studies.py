"""What more data would bring, what each field is worth: the recipe fitted again on fewer rows, or without a field."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from catalogs.product import KNOWN_PATH, TEXT_HASH
from classifier.bootstrap import METRICS, differences, intervals
from classifier.holdout import nested_mask
from classifier.linear import fit_linear, settled
from classifier.metrics import evaluate
from classifier.model import BATCH_ROWS, label_codes, no_words, vectoriser_of
from classifier.parts import score
from classifier.tokens import batches
from classifier.tree import Tree
from core.errors import TrainingError

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec
    from classifier.recipes import Recipe

__all__ = ["SHARES", "Ground", "Study", "field_ablation", "learning_curve"]

SHARES = (0.25, 0.5, 0.75)
"""Shares of the training rows that are fitted on, beside all of them."""


@dataclass(frozen=True)
class Ground:
    """What studies compare on.

    Attributes:
        train: products that the model was trained on.
        holdout: products that it has not seen, with labels.
        predicted: the model's answer for each of them, a path.
        spec: the catalogue.
        recipe: how the model was trained; the solver is that for all rows, so that points differ in rows alone.
        seed: of fits and resamples.
    """

    train: pl.DataFrame
    holdout: pl.DataFrame
    predicted: pl.Series
    spec: CatalogSpec
    recipe: Recipe
    seed: int

    def measured(self, predicted: pl.Series) -> dict[str, Any]:
        """accuracy, macro F1 and weighted F1 on the hold-out."""
        found = evaluate(self.holdout[KNOWN_PATH], predicted, self.spec.levels)
        return {name: found[name] for name in METRICS}

    def gained(self, over: pl.Series) -> dict[str, dict[str, Any]]:
        """What the model has over other answers for the same products."""
        return differences(self.holdout[KNOWN_PATH], self.predicted, over, self.seed)


@dataclass
class Study:
    """What a study found.

    Attributes:
        rows: one a fit.
        skipped: what was not fitted, and why, in words.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def learning_curve(ground: Ground, until: float | None = None) -> Study:
    """Metrics by number of training rows; each part holds the smaller ones, products of the same text stay together.

    Args:
        ground: what to compare on.
        until: no fit is started after this time.monotonic().

    Returns:
        rows: share, rows, accuracy, macro_f1, weighted_f1, intervals, gain (of all rows over these, with intervals;
        None for all rows).
    """
    study = Study()
    for share in SHARES:
        part = ground.train.filter(nested_mask(ground.train[TEXT_HASH], share))
        what = f"{share:.0%} of the training rows"
        predicted = _tried(study, what, part, ground.spec, ground, until)
        if predicted is not None:
            study.rows.append(_point(ground, share, part.height, predicted) | {"gain": ground.gained(predicted)})
    study.rows.append(_point(ground, 1.0, ground.train.height, ground.predicted) | {"gain": None})
    return study


def field_ablation(ground: Ground, until: float | None = None) -> Study:
    """What the model loses when it is trained without a field.

    Args:
        ground: what to compare on.
        until: no fit is started after this time.monotonic().

    Returns:
        rows: field, kind, accuracy, macro_f1, weighted_f1 (without the field), gain (what the field brings, with
        intervals).
    """
    study = Study()
    if len(ground.spec.fields) < 2:
        study.skipped.append(f"the model reads nothing but {ground.spec.fields[0].name}")
        return study
    for left_out in ground.spec.fields:
        if not _given(ground.train[left_out.name]):
            study.skipped.append(f"without {left_out.name}: no training product has it, so nothing would change")
            continue
        others = [one for one in ground.spec.fields if one.name != left_out.name]
        spec = ground.spec.model_copy(update={"fields": others})
        predicted = _tried(study, f"without {left_out.name}", ground.train, spec, ground, until)
        if predicted is not None:
            named = {"field": left_out.name, "kind": left_out.kind}
            study.rows.append(named | ground.measured(predicted) | {"gain": ground.gained(predicted)})
    return study


def _given(values: pl.Series) -> bool:
    """Whether any product has this field: text that is not empty, a list with members, a number."""
    if isinstance(values.dtype, pl.List):
        return bool((values.list.len() > 0).any())
    return bool((values != "").any() if values.dtype == pl.String else values.is_not_null().any())


def _point(ground: Ground, share: float, rows: int, predicted: pl.Series) -> dict[str, Any]:
    ends = intervals(ground.holdout[KNOWN_PATH], predicted, ground.spec.levels[:1], ground.seed)
    return {"share": share, "rows": rows, **ground.measured(predicted), "intervals": ends}


def _tried(
    study: Study, what: str, train: pl.DataFrame, spec: CatalogSpec, ground: Ground, until: float | None
) -> pl.Series | None:
    """Answers for the hold-out by a model of these rows; None and a note where there is no time or nothing to learn."""
    if until is not None and time.monotonic() > until:
        study.skipped.append(f"{what}: the time for studies was used up")
        return None
    try:
        return _answers(train, ground.holdout, spec, ground)
    except TrainingError as error:
        study.skipped.append(f"{what}: {error.message}")
        return None


def _answers(train: pl.DataFrame, holdout: pl.DataFrame, spec: CatalogSpec, ground: Ground) -> pl.Series:
    """The labels that `model.fit` on these rows would give: without calibration, which changes none and costs most."""
    labelled = train.filter(pl.col(KNOWN_PATH).is_not_null())
    paths, codes = label_codes(labelled, spec)
    vectoriser = vectoriser_of(spec, ground.recipe)
    design = vectoriser.fit(labelled)
    if not design.nnz:
        raise no_words(spec, labelled.height)
    params = ground.recipe.params.model
    # The solver that all rows have, however few these are.
    entries = design.nnz * ground.train.height // max(labelled.height, 1)
    params = settled(params, ground.train.height, entries)
    linear = fit_linear(design, codes, len(paths), params, ground.seed, Tree(paths).uppers)
    vectoriser.weigh(linear)
    found = []
    for rows in batches(holdout.height, BATCH_ROWS):
        part = holdout[rows]
        parts = vectoriser.parts({name: part[name] for name in vectoriser.reads})
        found.append(score(parts, linear.intercept, part.height).argmax(axis=1))
    return pl.Series(paths, dtype=pl.List(pl.String)).gather(np.concatenate(found))
