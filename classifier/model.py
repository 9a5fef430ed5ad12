"""The model: trained on labelled products of a catalogue, it gives any product a label, a confidence and reasons."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from catalogs.product import KNOWN_PATH, TEXT_HASH, join_path
from classifier.calibration import Calibration, calibration_error, fit_calibration
from classifier.linear import fit_linear
from classifier.metrics import evaluate
from classifier.parts import Array, score
from classifier.prototypes import PrototypeVectoriser, fit_prototype
from classifier.reasons import REASONS, no_reasons, strongest, strongest_few
from classifier.thresholds import proof, thresholds_of_tree
from classifier.tokens import batches
from classifier.training import OutOfFold, out_of_fold
from classifier.tree import Tree
from classifier.vectoriser import ProductVectoriser
from core.errors import NotEnoughLabels, OneClass

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec
    from classifier.recipes import Recipe

__all__ = [
    "PREDICTION",
    "Model",
    "distinct_labels",
    "fit",
    "label_codes",
    "no_words",
    "refit_thresholds",
    "vectoriser_of",
]

PREDICTION: dict[str, Any] = {
    "label": pl.String,
    "label_path": pl.List(pl.String),
    "confidence": pl.Float64,
    "confidence_path": pl.List(pl.Float64),
    "runner_up": pl.String,
    "runner_up_confidence": pl.Float64,
    "reasons": REASONS,
}
# Rows scored at once by one thread: about 30 MiB of tokens and vectors, and cheap to hand out.
BATCH_ROWS = 8_192
# Up to so many rows plain lists are faster than starting Polars a dozen times; the answers are the same.
FEW_ROWS = 32


@dataclass
class Model:
    """A trained model.

    Attributes:
        spec: the catalogue that it was trained for.
        recipe: how it was trained.
        paths: the labels, each as a path (of length 1 for plain labels); the position is the label's index.
        vectoriser: products to tokens with weights.
        intercept: score of each label before any token.
        calibration: scores to confidences.
        thresholds: one row a label, and a node above labels that are paths: label, level, threshold, support,
            precision, coverage, reason, path_thresholds.
        rows: training rows.
        out_of_fold: metrics of the out-of-fold predictions behind calibration and thresholds.
        digest: sha256 of the artifact's manifest; None before it is saved.
        evidence: what was said of each out-of-fold row: label and truth (indexes), confidence_path, and weight, a share
            of one among copies of a text; thresholds for another target come of it (`refit_thresholds`). None in a
            model that was loaded: it stays on disk.
        held: the out-of-fold scores themselves. None in a model that was loaded.
    """

    spec: CatalogSpec
    recipe: Recipe
    paths: list[list[str]]
    vectoriser: ProductVectoriser
    intercept: Array
    calibration: Calibration
    thresholds: pl.DataFrame
    rows: int
    out_of_fold: dict[str, Any] = field(default_factory=dict)
    digest: str | None = None
    evidence: pl.DataFrame | None = None
    held: OutOfFold | None = field(default=None, repr=False)

    @cached_property
    def labels(self) -> list[str]:
        """Every label that the model can give, paths joined."""
        return [join_path(path) or "" for path in self.paths]

    @property
    def levels(self) -> list[str]:
        """Names of the label's levels."""
        return self.spec.levels

    @property
    def unlearnt(self) -> list[str]:
        """Fields of which nothing was learnt, as where no training row had a value."""
        return [field.name for field in self.vectoriser.fields if not sum(field.widths)]

    def predict(self, frame: pl.DataFrame, *, reasons: bool = True, threads: int | None = None) -> pl.DataFrame:
        """One row a product, in order: `PREDICTION`.

        `confidence` is that of the label as a whole, `confidence_path` has one for each of its levels.

        Works in batches, on all cores unless `threads` says otherwise; memory is bound by a batch a thread. A product
        gets the same answer to the bit in any batch and alone.

        Args:
            frame: canonical products; only the model's fields are read.
            reasons: whether to explain; without, the lists are empty and prediction is faster.
            threads: batches worked on at once.

        Raises:
            ColumnMissing: a field of the model is not there.
        """
        self.vectoriser.check(frame)
        if frame.height <= FEW_ROWS:
            columns = {name: frame[name].to_list() for name in self.vectoriser.reads}
            return pl.DataFrame(self.predict_values(columns, frame.height, reasons=reasons), schema=PREDICTION)
        parts = [frame[rows] for rows in batches(frame.height, BATCH_ROWS)]
        return pl.concat(list(self._mapped(parts, reasons, threads)))

    def predict_rows(self, rows: Sequence[Mapping[str, Any]], *, reasons: bool = True) -> list[dict[str, Any]]:
        """What `predict` gives for a few products, without frames: the quickest way to one answer.

        Args:
            rows: products, field → value; a field that is not there counts as empty.
            reasons: whether to explain.
        """
        columns = {name: [row.get(name) for row in rows] for name in self.vectoriser.reads}
        found = self.predict_values(columns, len(rows), reasons=reasons)
        return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]

    def predict_values(
        self, columns: Mapping[str, Sequence[Any]], rows: int, *, reasons: bool = True
    ) -> dict[str, list[Any]]:
        """What `predict` gives for products as plain values, column by column: the quickest way from JSON to JSON.

        Args:
            columns: a value for each product of each field that the model reads.
            rows: number of products.
            reasons: whether to explain.
        """
        found: dict[str, list[Any]] = {name: [] for name in PREDICTION}
        for part in batches(rows, BATCH_ROWS):
            own = {name: columns[name][part] for name in self.vectoriser.reads}
            for name, values in self._predict_values(own, part.stop - part.start, reasons).items():
                found[name] += values
        return found

    def top(self, frame: pl.DataFrame, most: int) -> list[list[tuple[str, float]]]:
        """The best `most` labels of each product with their confidences, best first; the first is the one predicted.

        Raises:
            ColumnMissing: a field of the model is not there.
        """
        self.vectoriser.check(frame)
        if frame.is_empty():
            return []
        order, confidence = self.calibration.top(self.scores(frame), most)
        return [
            [(self.labels[code], own) for code, own in zip(codes, owns, strict=True)]
            for codes, owns in zip(order.tolist(), confidence.tolist(), strict=True)
        ]

    def scores(self, frame: pl.DataFrame) -> Array:
        """Uncalibrated scores (products × labels)."""
        return score(self.vectoriser.parts(_columns(frame, self.vectoriser.reads)), self.intercept, frame.height)

    def _mapped(self, parts: list[pl.DataFrame], reasons: bool, threads: int | None) -> Iterator[pl.DataFrame]:
        wanted = min(threads or os.cpu_count() or 1, len(parts))
        if wanted <= 1:
            yield from (self._predict(part, reasons) for part in parts)
            return
        with ThreadPoolExecutor(wanted, thread_name_prefix="predict") as pool:
            yield from pool.map(lambda part: self._predict(part, reasons), parts)

    def _predict(self, frame: pl.DataFrame, reasons: bool) -> pl.DataFrame:
        parts = self.vectoriser.parts(_columns(frame, self.vectoriser.reads))
        ranked = self.calibration.rank(score(parts, self.intercept, frame.height))
        why = strongest(parts, ranked.label, ranked.runner_up) if reasons else no_reasons(frame.height)
        labels, paths = self._label_series
        return pl.DataFrame(
            {
                "label": labels.gather(ranked.label),
                "label_path": paths.gather(ranked.label),
                "confidence": ranked.confidence,
                "confidence_path": _levels(ranked.path_confidence),
                "runner_up": labels.gather(ranked.runner_up),
                "runner_up_confidence": ranked.runner_up_confidence,
                "reasons": why,
            }
        )

    def _predict_values(self, columns: Mapping[str, Sequence[Any]], rows: int, reasons: bool) -> dict[str, list[Any]]:
        parts = self.vectoriser.parts(columns)
        ranked = self.calibration.rank(score(parts, self.intercept, rows))
        label, runner_up = ranked.label.tolist(), ranked.runner_up.tolist()
        return {
            "label": [self.labels[code] for code in label],
            "label_path": [list(self.paths[code]) for code in label],
            "confidence": ranked.confidence.tolist(),
            "confidence_path": [[one for one in row if one == one] for row in ranked.path_confidence.tolist()],
            "runner_up": [self.labels[code] for code in runner_up],
            "runner_up_confidence": ranked.runner_up_confidence.tolist(),
            "reasons": strongest_few(parts, ranked.label, ranked.runner_up) if reasons else [[] for _ in label],
        }

    @cached_property
    def _label_series(self) -> tuple[pl.Series, pl.Series]:
        return pl.Series(self.labels, dtype=pl.String), pl.Series(self.paths, dtype=pl.List(pl.String))


def _levels(path_confidence: NDArray[np.float64]) -> pl.Series:
    """Confidences of each level as lists, without the levels that a path does not have."""
    lists = pl.Series(path_confidence).arr.to_list()
    return lists.list.eval(pl.element().drop_nans()) if np.isnan(path_confidence).any() else lists


def _columns(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Series]:
    return {name: frame[name] for name in names}


def fit(frame: pl.DataFrame, spec: CatalogSpec, recipe: Recipe, seed: int) -> Model:
    """Train on the labelled rows of `frame`, in their order.

    Args:
        frame: canonical products; rows without a label are passed over.
        spec: their catalogue.
        recipe: how to train.
        seed: seed of every random choice.

    Raises:
        NotEnoughLabels: fewer than two labelled rows, or no word that two of them share.
        OneClass: all labels are the same.
        ColumnMissing: a field of the catalogue is not there.
    """
    labelled = frame.filter(pl.col(KNOWN_PATH).is_not_null())
    paths, codes = label_codes(labelled, spec)
    vectoriser = vectoriser_of(spec, recipe)
    vectoriser.check(labelled)
    if isinstance(vectoriser, PrototypeVectoriser):
        own_folds = recipe.params.calibration.folds
        try:
            intercept, held = fit_prototype(vectoriser, labelled, codes, len(paths), labelled[TEXT_HASH], own_folds)
        except ValueError as error:
            raise no_words(spec, labelled.height) from error
    else:
        design = vectoriser.fit(labelled)
        if not design.nnz:
            raise no_words(spec, labelled.height)
        tree = Tree(paths)
        held = out_of_fold(design, vectoriser.layout, codes, tree, labelled[TEXT_HASH], recipe.params, seed)
        linear = fit_linear(design, codes, len(paths), recipe.params.model, seed, tree.uppers)
        vectoriser.weigh(linear)
        intercept = linear.intercept
    calibration, evidence, facts = _trust(held, codes, paths, labelled[TEXT_HASH], spec)
    thresholds = refit_thresholds(evidence, paths, spec.accept.precision_target, spec.accept.confidence_level)
    return Model(
        spec,
        recipe,
        paths,
        vectoriser,
        intercept,
        calibration,
        thresholds,
        labelled.height,
        facts,
        evidence=evidence,
        held=held,
    )


def refit_thresholds(
    evidence: pl.DataFrame, paths: list[list[str]], precision_target: float, confidence_level: float
) -> pl.DataFrame:
    """Thresholds (`Model.thresholds`) for a target, from what was said of out-of-fold rows."""
    tree = Tree(paths)
    levels = [pl.col("confidence_path").list.get(level, null_on_oob=True) for level in range(tree.depth)]
    confidence = evidence.select(level.alias(str(number)) for number, level in enumerate(levels)).fill_null(np.nan)
    label, truth = (evidence[name].cast(pl.Int64).to_numpy() for name in ("label", "truth"))
    path_confidence = confidence.to_numpy().reshape(len(label), tree.depth)
    weight = evidence["weight"].cast(pl.Float64).to_numpy()
    return thresholds_of_tree(tree, label, path_confidence, truth, precision_target, confidence_level, weight)


def vectoriser_of(spec: CatalogSpec, recipe: Recipe) -> ProductVectoriser:
    """The vectoriser that a recipe uses on a catalogue's products."""
    kind = PrototypeVectoriser if recipe.is_prototype else ProductVectoriser
    return kind(spec.fields, recipe)


def no_words(spec: CatalogSpec, rows: int) -> NotEnoughLabels:
    """The error for rows that share no word."""
    return NotEnoughLabels(
        f"no word or value of the {rows:,} training rows counts: none is in enough of them, or the recipe leaves none",
        where=f"catalogue {spec.name}",
        hint="give more rows, lower the recipe's words.min_rows, or check that the catalogue's fields name the columns "
        "that describe a product",
    )


def distinct_labels(labelled: pl.DataFrame, spec: CatalogSpec) -> pl.DataFrame:
    """Distinct labels, sorted.

    Raises:
        NotEnoughLabels, OneClass: these rows teach nothing.
    """
    where = f"catalogue {spec.name}"
    if labelled.height < 2:
        raise NotEnoughLabels(
            f"{labelled.height} training rows with a label; at least 2 are needed",
            where=where,
            hint=f"check that the source has the label column {', '.join(spec.label.source_columns)}",
        )
    distinct = labelled.select(KNOWN_PATH).unique().sort(pl.col(KNOWN_PATH).list.join("\0"))
    if distinct.height < 2:
        raise OneClass(
            f"all {labelled.height:,} training rows have the label '{join_path(distinct[KNOWN_PATH][0].to_list())}'",
            where=where,
            hint="a model needs at least two labels to tell apart",
        )
    return distinct


def label_codes(labelled: pl.DataFrame, spec: CatalogSpec) -> tuple[list[list[str]], NDArray[np.int64]]:
    """Distinct labels, sorted, and the index of each row's.

    Raises:
        NotEnoughLabels, OneClass: these rows teach nothing.
    """
    distinct = distinct_labels(labelled, spec)
    codes = labelled.select(pl.col(KNOWN_PATH).list.join("\0").alias("key")).join(
        distinct.select(pl.col(KNOWN_PATH).list.join("\0").alias("key")).with_row_index("code"),
        on="key",
        how="left",
        maintain_order="left",
    )["code"]
    return distinct[KNOWN_PATH].to_list(), codes.cast(pl.Int64).to_numpy()


def _trust(
    held: OutOfFold, codes: NDArray[np.int64], paths: list[list[str]], text_hash: pl.Series, spec: CatalogSpec
) -> tuple[Calibration, pl.DataFrame, dict[str, Any]]:
    """Calibration, evidence and a few facts from out-of-fold scores."""
    truth = codes[held.rows]
    calibration = fit_calibration(held.scores, truth, Tree(paths), held.learnt)
    ranked = calibration.rank(held.scores)
    right = ranked.label == truth
    evidence = pl.DataFrame(
        {
            "label": ranked.label,
            "truth": truth,
            "weight": proof(text_hash.gather(held.rows)),
            "confidence_path": _levels(ranked.path_confidence),
        },
        schema_overrides={"label": pl.Int32, "truth": pl.Int32, "weight": pl.Float32},
    )
    known = pl.Series(paths, dtype=pl.List(pl.String))
    scored = evaluate(known.gather(truth), known.gather(ranked.label), spec.levels) if len(truth) else {}
    facts = {
        "rows": len(truth),
        "accuracy": float(right.mean()) if len(truth) else None,
        "macro_f1": scored.get("macro_f1"),
        "weighted_f1": scored.get("weighted_f1"),
        "calibration_error": calibration_error(ranked.confidence, right) if len(truth) else None,
    }
    return calibration, evidence, facts
