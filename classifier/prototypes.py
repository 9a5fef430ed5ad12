"""The published prototypes, as they were: features, estimator, parameters and row order, reproduced to the digit.

asos-prototype        the grid's winner of the ASOS exercise: TF-IDF words of "name;description", elastic-net SGD
newsgroups-prototype  scikit-learn's text tutorial: counts, TF-IDF, multinomial naive Bayes, all defaults
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from typing_extensions import override

from classifier.fields import FieldVectoriser
from classifier.linear import from_estimator
from classifier.parts import Array, Part, Rows, WordNames
from classifier.training import OutOfFold, split
from classifier.vectoriser import ProductVectoriser
from classifier.written import Values

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

    from catalogs.spec import FieldSpec
    from classifier.recipes import PrototypeParams, Recipe
    from classifier.text_vectoriser import TextVectoriser

__all__ = ["PROTOTYPES", "Prototype", "PrototypeVectoriser", "fit_prototype", "joined"]

# Words that the ASOS exercise drops beside scikit-learn's English list: they stand in nearly every description.
_ASOS_STOP_WORDS = ("dress", "model", "wears", "fit", "true", "to", "size", "uk", "us", "tall", "cm")


@dataclass(frozen=True)
class Prototype:
    """One published prototype.

    Attributes:
        separator: stands between the text fields, which are joined in the catalogue's order.
        estimator: a fresh, unfitted scikit-learn classifier with given parameters.
        words: further parameters of the TextVectoriser.
    """

    separator: str
    estimator: Callable[[PrototypeParams], ClassifierMixin]
    words: Callable[[], dict[str, Any]] = dict

    def vectoriser(self, params: PrototypeParams) -> TextVectoriser:
        """A fresh vectoriser; in float64, because a prototype's last digits depend on it."""
        from classifier.text_vectoriser import TextVectoriser

        ngrams = (1, params.ngrams)
        return TextVectoriser(**self.words(), ngram_range=ngrams, max_df=params.max_df, dtype=np.float64)


def _asos_estimator(params: PrototypeParams) -> ClassifierMixin:
    from sklearn.linear_model import SGDClassifier

    chosen = {"alpha": params.alpha, "l1_ratio": params.l1_ratio}
    return SGDClassifier(loss="modified_huber", penalty="elasticnet", random_state=42, **chosen)


def _newsgroups_estimator(params: PrototypeParams) -> ClassifierMixin:
    from sklearn.naive_bayes import MultinomialNB

    return MultinomialNB(alpha=params.alpha)


def _asos_words() -> dict[str, Any]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return {"stop_words": sorted(ENGLISH_STOP_WORDS.union(_ASOS_STOP_WORDS)), "strip_digits": True}


PROTOTYPES: dict[str, Prototype] = {
    "asos-prototype": Prototype(";", _asos_estimator, _asos_words),
    "newsgroups-prototype": Prototype("\n", _newsgroups_estimator),
}


def joined(frame: pl.DataFrame, fields: Sequence[str], separator: str) -> pl.Series:
    """The text fields of each product as one text; a missing one is empty."""
    return frame.select(pl.concat_str(pl.col(fields).fill_null(""), separator=separator)).to_series()


class PrototypeField(FieldVectoriser):
    """All text of a product as one field.

    Args:
        prototype: whose features these are.
        params: its parameters.
    """

    name = "text"
    weight = 1.0

    def __init__(self, prototype: Prototype, params: PrototypeParams) -> None:
        self.vectoriser = prototype.vectoriser(params)

    @property
    @override
    def widths(self) -> list[int]:
        return [len(self.vectoriser.idf_)]

    @property
    @override
    def droppable(self) -> list[bool]:
        return [True]

    @override
    def fit(self, values: pl.Series) -> list[Any]:
        return [self.vectoriser.fit_transform(values)]

    @override
    def weigh(self, coefficients: list[Array]) -> None:
        (self.weights,) = coefficients

    @override
    def parts(self, values: Values) -> list[Part]:
        matrix = self.vectoriser.transform(pl.Series(values, dtype=pl.String))
        starts, ids = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        rows = Rows(starts, ids, matrix.data, matrix.shape[1])
        return [Part(self.name, rows, self.weights, WordNames(self.vectoriser.names))]

    @override
    def tables(self) -> dict[str, pl.DataFrame]:
        return self.vectoriser.tables()

    @override
    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights}

    @override
    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        self.vectoriser.restore(dict(tables), rows)
        self.weights = arrays["weights"]


class PrototypeVectoriser(ProductVectoriser):
    """Products as their prototype sees them: one text."""

    def __init__(self, fields: Sequence[FieldSpec], recipe: Recipe) -> None:
        self.prototype = PROTOTYPES[recipe.family]
        self.reads = [field.name for field in fields if field.kind == "text"]
        self.params = recipe.params.prototype
        self.fields = [PrototypeField(self.prototype, self.params)]

    @override
    def parts(self, columns: Mapping[str, Values]) -> list[Part]:
        frame = pl.DataFrame({name: pl.Series(columns[name], dtype=pl.String) for name in self.reads})
        return self.fields[0].parts(joined(frame, self.reads, self.prototype.separator))


def fit_prototype(
    vectoriser: PrototypeVectoriser,
    frame: pl.DataFrame,
    codes: NDArray[np.int64],
    labels: int,
    text_hash: pl.Series,
    folds: int,
) -> tuple[Array, OutOfFold]:
    """Fit on all rows in their order, and score each fold by a prototype fitted on the others.

    Returns:
        The intercept, and the out-of-fold scores.

    Raises:
        ValueError: the texts hold no words.
    """
    prototype, params = vectoriser.prototype, vectoriser.params
    texts = joined(frame, vectoriser.reads, prototype.separator)
    parts = []
    for rows, others in split(text_hash, folds, codes):
        words, estimator = prototype.vectoriser(params), prototype.estimator(params)
        estimator.fit(words.fit_transform(texts.gather(others)), codes[others])
        linear = from_estimator(estimator, labels, np.float64)
        scores = words.transform(texts.gather(rows)) @ linear.coefficients + linear.intercept
        parts.append(OutOfFold.of_fold(rows, scores, codes, others))
    (design,) = vectoriser.fields[0].fit(texts)
    linear = from_estimator(prototype.estimator(params).fit(design, codes), labels, np.float64)
    vectoriser.weigh(linear)
    return linear.intercept, OutOfFold.of(parts, labels)
