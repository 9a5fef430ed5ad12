"""Products whose label is probably wrong, by confident learning (cleanlab): a list for people to check, never a change.

A product is suspected when a model that was trained without it is surer of another label than it usually is of that
label's own products (Northcutt, Jiang and Chuang: Confident Learning, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from catalogs.product import KNOWN_PATH, PRODUCT_ID, join_path, join_paths
from classifier.model import Model, label_codes
from classifier.tree import Tree

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["LABEL_ISSUES", "LEAST_OF_LABEL", "LabelIssues", "label_issues"]

LABEL_ISSUES = {
    "product_id": pl.String,
    "text": pl.String,
    "given": pl.String,
    "suggested": pl.String,
    "score": pl.Float64,
    "suggested_probability": pl.Float64,
}
"""Columns of the list: the product; its label; what the model suggests; probability that the given
label is right (lower: more suspect) and that the suggested one is, both out of fold."""

LEAST_OF_LABEL = 10
"""Labels of fewer products are not judged: a model that was trained without some of them hardly knows them."""

# A model that is often wrong doubts many a right label: only what it would rather call something else is worth a look.
# On the generated shop with one label in twenty exchanged, and nearly as many wrong of its own, 125 of 1,444 rows are
# listed, and 54 of the 72 exchanged; without the bound 170 and 62. Of 3,500 rows of amazon_india 325, not 994.
_LIKELIER = 0.5
# Rows × labels that are judged at once, as float32: 160 MB. Above, a label path is judged at an upper level.
_MOST_PROBABILITIES = 40_000_000
_TEXT_CHARS = 300


@dataclass(frozen=True)
class LabelIssues:
    """Suspected labels.

    Attributes:
        table: columns LABEL_ISSUES, the most suspect first.
        rows: training products that were judged: those scored out of fold whose label has `LEAST_OF_LABEL` of them.
        level: name of the label's level that was judged; None for the whole label.
    """

    table: pl.DataFrame
    rows: int
    level: str | None


def label_issues(train: pl.DataFrame, model: Model) -> LabelIssues:
    """Judge the labels of the training products by what the model's folds said of those that they had not seen.

    Args:
        train: the canonical products that the model was fitted on; those without a label are passed over.
        model: as `fit` gave it, with its out-of-fold scores.

    Raises:
        ValueError: the model was loaded, and has no such scores.
    """
    if model.held is None:
        raise ValueError("a model that was loaded has no out-of-fold scores")
    held, calibration, spec = model.held, model.calibration, model.spec
    labelled = train.filter(pl.col(KNOWN_PATH).is_not_null())
    codes = label_codes(labelled, spec)[1]
    tree = calibration.tree
    if not len(held.rows):
        return LabelIssues(pl.DataFrame(schema=LABEL_ISSUES), 0, None)
    level = _judged_level(tree, len(held.rows))
    nodes = tree.nodes[level]
    given = nodes[codes[held.rows]]
    judged = np.flatnonzero(np.bincount(given, minlength=1)[given] >= LEAST_OF_LABEL)
    given = given[judged]
    probabilities = _probabilities(held.scores[judged], calibration.temperature, nodes)
    found = _found(given, probabilities)
    names = [join_path(path) or "" for path in tree.names(level)]
    products = labelled[held.rows[judged[found]]]
    best = probabilities[found].argmax(axis=1)
    table = products.select(
        pl.col(PRODUCT_ID).alias("product_id"),
        _text(spec).alias("text"),
        join_paths(pl.col(KNOWN_PATH).list.head(level + 1)).alias("given"),
        pl.Series("suggested", [names[code] for code in best], dtype=pl.String),
        pl.Series("score", probabilities[found, given[found]].astype(np.float64)),
        pl.Series("suggested_probability", probabilities[found, best].astype(np.float64)),
    )
    return LabelIssues(table, len(judged), spec.levels[level] if level + 1 < tree.depth else None)


def _found(given: NDArray[np.int64], probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows whose label cleanlab suspects and for which another is likelier than not, the most suspect first."""
    from cleanlab.filter import find_label_issues  # here: it brings pandas, and takes seconds

    present, codes = np.unique(given, return_inverse=True)
    if len(present) < 2:
        return np.empty(0, np.int64)
    own: Any = probabilities[:, present]
    own = own / own.sum(axis=1, keepdims=True)
    # One process: workers of its own would each copy the probabilities.
    ranked = find_label_issues(codes, own, return_indices_ranked_by="self_confidence", n_jobs=1)
    found: NDArray[np.int64] = np.asarray(ranked, dtype=np.int64)
    likelier: NDArray[np.bool_] = probabilities[found].max(axis=1) >= _LIKELIER
    changed: NDArray[np.bool_] = probabilities[found].argmax(axis=1) != given[found]
    return found[likelier & changed]


def _judged_level(tree: Tree, rows: int) -> int:
    """The deepest level whose nodes can be judged at once."""
    fitting = [level for level, nodes in enumerate(tree.nodes) if rows * (int(nodes.max()) + 1) <= _MOST_PROBABILITIES]
    several = [level for level in fitting if tree.nodes[level].max() > 0]
    return max(several, default=tree.depth - 1)


def _probabilities(scores: NDArray[np.floating], temperature: float, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Softmax of the scores, added up by node (rows × nodes)."""
    found = np.empty((len(scores), int(nodes.max()) + 1), dtype=np.float32)
    starts = np.flatnonzero(np.diff(nodes, prepend=-1))  # labels of a node stand together
    for start in range(0, len(scores), 4_096):
        part = scores[start : start + 4_096].astype(np.float64)
        powers = np.exp((part - part.max(axis=1, keepdims=True)) * temperature)
        powers /= powers.sum(axis=1, keepdims=True)
        found[start : start + 4_096] = np.add.reduceat(powers, starts, axis=1)
    return found


def _text(spec: CatalogSpec) -> pl.Expr:
    fields = spec.text_fields or spec.field_names[:1]
    joined = pl.concat_str(pl.col(fields).cast(pl.String), separator=" · ", ignore_nulls=True)
    return joined.str.slice(0, _TEXT_CHARS)
