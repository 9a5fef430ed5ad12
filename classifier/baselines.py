"""What a model has to beat: always the commonest label, a plain TF-IDF under a linear SVM, a published prototype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from numpy.typing import NDArray

from catalogs.product import KNOWN_PATH, TEXT_HASH
from classifier.metrics import Metrics, evaluate
from classifier.prototypes import PROTOTYPES, joined
from classifier.recipes import declared, resolve

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["majority", "plain_tfidf", "prototype", "prototype_of"]

# The plain baseline tells how hard a catalogue is; more rows than this change it little, and LinearSVC's time grows
# faster than they do: 80,000 of Amazon's size took it longer than the model itself.
_MOST_ROWS = 30_000


def majority(train: pl.DataFrame, holdout: pl.DataFrame, spec: CatalogSpec) -> Metrics:
    """Metrics of giving every held-out product the commonest label of the training rows."""
    known = train[KNOWN_PATH].drop_nulls()
    commonest = known.value_counts(sort=True, name="count").sort(
        [pl.col("count"), pl.col(KNOWN_PATH).list.join("\0")], descending=[True, False]
    )[KNOWN_PATH]
    return evaluate(holdout[KNOWN_PATH], commonest.head(1).gather([0] * holdout.height), spec.levels)


def plain_tfidf(train: pl.DataFrame, holdout: pl.DataFrame, spec: CatalogSpec, seed: int = 0) -> Metrics:
    """Metrics of scikit-learn's TfidfVectorizer and LinearSVC with their defaults on all text fields joined.

    Trained on at most 30,000 labelled rows. TextVectoriser gives the same matrix, several times faster.
    """
    import numpy as np
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from classifier.text_vectoriser import TextVectoriser

    known = _labelled(train)
    if not holdout.height or known[KNOWN_PATH].n_unique() < 2:
        return majority(train, holdout, spec)
    codes = known[KNOWN_PATH].list.join("\0").rank("dense")
    model = make_pipeline(TextVectoriser(dtype=np.float64), LinearSVC(random_state=seed))
    try:
        model.fit(_joined(known, spec), codes.to_numpy())
    except ValueError:  # not one word: such a baseline says no more than the commonest label does
        return majority(train, holdout, spec)
    return _evaluated(known[KNOWN_PATH], codes, model.predict(_joined(holdout, spec)), holdout, spec)


def prototype_of(spec: CatalogSpec) -> str | None:
    """The recipe of the prototype that a catalogue has: one that its TOML names, or its contract's."""
    names = [name for name in (spec.recipe.name, *spec.recipes) if declared(spec, name)[1] in PROTOTYPES]
    own = f"{spec.contract}-prototype"
    return next(iter(names), own if own in PROTOTYPES else None)


def prototype(name: str, train: pl.DataFrame, holdout: pl.DataFrame, spec: CatalogSpec) -> Metrics | None:
    """Metrics of a prototype's recipe on the same products: None where its features find no word.

    Trained on at most 30,000 labelled rows of `train`; as published it learns from every labelled row.
    """
    known = _labelled(train)
    if not holdout.height or known[KNOWN_PATH].n_unique() < 2:
        return None
    recipe = resolve(spec, name)
    chosen, params = PROTOTYPES[recipe.family], recipe.params.prototype
    words, estimator = chosen.vectoriser(params), chosen.estimator(params)
    codes = known[KNOWN_PATH].list.join("\0").rank("dense")
    train_texts, texts = (joined(rows, spec.text_fields, chosen.separator) for rows in (known, holdout))
    try:
        fitted: Any = estimator.fit(words.fit_transform(train_texts), codes.to_numpy())
    except ValueError:
        return None
    return _evaluated(known[KNOWN_PATH], codes, fitted.predict(words.transform(texts)), holdout, spec)


def _labelled(train: pl.DataFrame) -> pl.DataFrame:
    """The labelled rows; of many a choice by their text's digest: files are often sorted by label."""
    return train.filter(pl.col(KNOWN_PATH).is_not_null()).filter(pl.col(TEXT_HASH).rank("ordinal") <= _MOST_ROWS)


def _evaluated(
    known: pl.Series, codes: pl.Series, predicted: NDArray[Any], holdout: pl.DataFrame, spec: CatalogSpec
) -> Metrics:
    """Metrics of predicted codes, given the paths of the training rows and their codes."""
    path_of = pl.DataFrame({"code": codes, "path": known}).unique("code")
    given = pl.DataFrame({"code": predicted}, schema={"code": codes.dtype})
    paths = given.join(path_of, on="code", how="left", maintain_order="left")["path"]
    return evaluate(holdout[KNOWN_PATH], paths, spec.levels)


def _joined(frame: pl.DataFrame, spec: CatalogSpec) -> pl.Series:
    return frame.select(pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True)).to_series()
