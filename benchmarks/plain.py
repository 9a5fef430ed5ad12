"""The plain way: json.loads a line, scikit-learn's TfidfVectorizer, LinearSVC, a Parquet file. Jobs of `measure`.

`features` names what the rival looks at:
    words     all text as one, words
    bigrams   all text as one, words and pairs of words
    fields    what `linear-fast` looks at: each text field apart, brands, ids and prices as tokens of their own
    subwords  what `linear` looks at: the same, and character n-grams of each text field
"""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.measure import Work
from benchmarks.products import Columns, as_text, records

__all__ = ["fit", "label", "predict", "read", "train", "unfitted"]

_ROWS_AT_ONCE = 50_000


def fit(source: str, columns: dict[str, Any], features: str, rows: int, model: str) -> Work:
    """Fit on the first rows of a file, and keep the model."""
    import joblib  # type: ignore[import-untyped]

    def work() -> dict[str, Any]:
        products, labels = read(Path(source), Columns(**columns), features, rows)
        fitted = unfitted(Columns(**columns), features).fit(products, labels)
        joblib.dump(fitted, model)
        return {"rows": len(labels)}

    return work


def predict(source: str, columns: dict[str, Any], features: str, rows: int, model: str, out: str) -> Work:
    """Label the first rows of a file, into a Parquet file."""
    import joblib
    import pandas as pd

    fitted, own = joblib.load(model), Columns(**columns)
    folder = Path(out)
    folder.mkdir(parents=True)

    def work() -> dict[str, Any]:
        done, lines = 0, records(Path(source), rows)
        while chunk := list(islice(lines, _ROWS_AT_ONCE)):
            answers = fitted.predict(_products(chunk, own, features))
            pd.DataFrame({"place": range(done, done + len(chunk)), "label": answers}).to_parquet(
                folder / f"{done:09d}.parquet"
            )
            done += len(chunk)
        return {"rows": done}

    return work


def label(train_on: str, source: str, columns: dict[str, Any], features: str, rows: int) -> Work:
    """Fit to get ready; then labels of products that are in memory."""
    from sklearn.metrics import accuracy_score, f1_score

    own = Columns(**columns)
    fitted = unfitted(own, features).fit(*read(Path(train_on), own, features, rows))
    products, truth = read(Path(source), own, features, rows)

    def work() -> dict[str, Any]:
        started = time.perf_counter()
        answers = fitted.predict(products)
        return {
            "rows": len(truth),
            "seconds": time.perf_counter() - started,
            "accuracy": float(accuracy_score(truth, answers)),
            "macro_f1": float(f1_score(truth, answers, average="macro")),
        }

    return work


def train(source: str, columns: dict[str, Any], features: str, rows: int) -> Work:
    """Read, split, fit and evaluate: what `aisle train` does, the plain way."""
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.model_selection import train_test_split

    def work() -> dict[str, Any]:
        products, labels = read(Path(source), Columns(**columns), features, rows)
        seen, held, known, truth = train_test_split(products, labels, test_size=0.2, random_state=0)
        answers = unfitted(Columns(**columns), features).fit(seen, known).predict(held)
        return {
            "rows": len(labels),
            "accuracy": float(accuracy_score(truth, answers)),
            "macro_f1": float(f1_score(truth, answers, average="macro")),
        }

    return work


def read(path: Path, columns: Columns, features: str, rows: int) -> tuple[Any, list[str]]:
    """Labelled products of the first rows, in the shape that the features ask for, and their labels."""
    labelled = [record for record in records(path, rows) if record.get(columns.label)]
    return _products(labelled, columns, features), [str(record[columns.label]) for record in labelled]


def unfitted(columns: Columns, features: str) -> Any:
    """Vectoriser and classifier as one pipeline."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    if features in {"words", "bigrams"}:
        reach = (1, 1) if features == "words" else (1, 2)
        return make_pipeline(TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=reach), LinearSVC(random_state=0))
    return make_pipeline(_fields(columns, subwords=features == "subwords"), LinearSVC(random_state=0))


def _fields(columns: Columns, *, subwords: bool) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

    words = {"sublinear_tf": True, "min_df": 2, "ngram_range": (1, 2), "max_features": 1_000_000}
    letters = {"sublinear_tf": True, "min_df": 2, "analyzer": "char_wb", "ngram_range": (3, 5), "max_features": 400_000}
    parts: list[tuple[str, Any, Any]] = [(f"{name} words", TfidfVectorizer(**words), name) for name in columns.text]
    if subwords:
        parts += [(f"{name} letters", TfidfVectorizer(**letters), name) for name in columns.text]
    if columns.keyword:
        parts.append(("keywords", OneHotEncoder(handle_unknown="ignore", min_frequency=2), columns.keyword))
    parts += [(name, TfidfVectorizer(analyzer=as_they_are, min_df=2, binary=True), name) for name in columns.ids]
    if columns.number:
        bins = KBinsDiscretizer(16, quantile_method="averaged_inverted_cdf")
        parts.append(("numbers", make_pipeline(SimpleImputer(), bins), columns.number))
    return ColumnTransformer(parts)


def as_they_are(entries: list[str]) -> list[str]:
    """A list of ids is its own tokens."""
    return entries


def _products(found: list[dict[str, Any]], columns: Columns, features: str) -> Any:
    if features in {"words", "bigrams"}:
        return [columns.text_of(record) for record in found]
    import pandas as pd

    table: dict[str, Any] = {
        name: [as_text(record.get(name)) for record in found] for name in [*columns.text, *columns.keyword]
    }
    table |= {name: pd.Series([_list(record.get(name)) for record in found], dtype=object) for name in columns.ids}
    table |= {name: [_number(record.get(name)) for record in found] for name in columns.number}
    return pd.DataFrame(table)


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float:
    try:
        return float(as_text(value).lstrip("$").replace(",", ""))
    except ValueError:
        return float("nan")
