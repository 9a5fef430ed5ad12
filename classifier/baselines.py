"""What a model has to beat: always the commonest label, and a plain TF-IDF of all text under a linear SVM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from catalogs.product import KNOWN_PATH
from classifier.metrics import Metrics, evaluate

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["majority", "plain_tfidf"]

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

    Trained on at most the first 30,000 labelled rows. TextVectoriser gives the same matrix, several times faster.
    """
    import numpy as np
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from classifier.text_vectoriser import TextVectoriser

    known = train.filter(pl.col(KNOWN_PATH).is_not_null()).head(_MOST_ROWS)
    if not holdout.height or known[KNOWN_PATH].n_unique() < 2:
        return majority(train, holdout, spec)
    codes = known[KNOWN_PATH].list.join("\0").rank("dense")
    model = make_pipeline(TextVectoriser(dtype=np.float64), LinearSVC(random_state=seed))
    try:
        model.fit(_joined(known, spec), codes.to_numpy())
    except ValueError:  # not one word: such a baseline says no more than the commonest label does
        return majority(train, holdout, spec)
    path_of = pl.DataFrame({"code": codes, "path": known[KNOWN_PATH]}).unique("code")
    given = pl.DataFrame({"code": model.predict(_joined(holdout, spec))}, schema={"code": codes.dtype})
    predicted = given.join(path_of, on="code", how="left", maintain_order="left")["path"]
    return evaluate(holdout[KNOWN_PATH], predicted, spec.levels)


def _joined(frame: pl.DataFrame, spec: CatalogSpec) -> pl.Series:
    return frame.select(pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True)).to_series()
