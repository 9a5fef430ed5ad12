"""How each real set is split into rows to learn from and rows to be measured on, never sharing an id or a text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.products import SHARED, canonical

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec
    from classifier.recipes import Recipe

__all__ = ["PROTOCOLS", "Protocol", "Split", "answered", "joined"]

Rows = NDArray[np.int64]
PATH_SEPARATOR = "\0"


@dataclass(frozen=True)
class Split:
    """Rows to fit on, and rows to answer for."""

    train: pl.DataFrame
    test: pl.DataFrame


@dataclass(frozen=True)
class Protocol:
    """One way to measure on one set.

    Attributes:
        name: of the row in the result.
        catalog: the catalogue.
        train: path of the file below the real data.
        what: the protocol in words.
        test: path of the file to answer for; None when folds of `train` are answered for.
        folds: number of folds.
        measured: how many of them are answered for, from the first on; None for all.
        group: rows that have this field in common share a fold; None for stratified folds in the file's order.
        prepare: applied to every file.
    """

    name: str
    catalog: str
    train: str
    what: str
    test: str | None = None
    folds: int = 1
    measured: int | None = None
    group: str | None = None
    prepare: Callable[[pl.DataFrame], pl.DataFrame] | None = None

    @property
    def is_there(self) -> bool:
        """Whether the real data lies beside the project."""
        return (SHARED / "data" / self.train).is_file()

    def read(self, path: str) -> tuple[CatalogSpec, pl.DataFrame]:
        """The labelled rows of a file, one a product, without fields that the file does not have."""
        import polars as pl

        spec, frame = canonical(SHARED / "data" / path, self.catalog)
        if spec.id:
            frame = frame.unique("product_id", keep="last", maintain_order=True)
        kept = [field for field in spec.fields if frame[field.name].null_count() < frame.height]
        spec = spec.model_copy(update={"fields": kept})
        frame = frame.select("known_path", "text_hash", *(pl.col(field.name) for field in kept))
        return spec, frame if self.prepare is None else self.prepare(frame)

    def splits(self, frame: pl.DataFrame) -> Iterator[Split]:
        """Each fold, or the one test file."""
        if self.test is not None:
            yield Split(frame, self.read(self.test)[1])
            return
        for train, test in itertools.islice(self._folds(frame), self.measured):
            yield Split(frame[train], frame[test])

    def _folds(self, frame: pl.DataFrame) -> Iterator[tuple[Rows, Rows]]:
        from sklearn.model_selection import GroupKFold, StratifiedKFold

        truth = joined(frame["known_path"]).to_numpy()
        if self.group is None:
            yield from StratifiedKFold(self.folds).split(truth, truth)
            return
        groups = frame[self.group].fill_null("").str.to_lowercase().rank("dense").to_numpy()
        yield from GroupKFold(self.folds).split(truth, truth, groups)


def joined(paths: pl.Series) -> pl.Series:
    """Label paths as one text each."""
    return paths.list.join(PATH_SEPARATOR)


def answered(split: Split, spec: CatalogSpec, recipe: Recipe) -> pl.Series:
    """The label paths that a model of the recipe, fitted on `train` as `aisle train` fits, gives to `test`.

    Without calibration: it changes no label, and takes most of the time.
    """
    import polars as pl

    from classifier.linear import fit_linear
    from classifier.model import vectoriser_of
    from classifier.parts import score
    from classifier.tree import Tree

    labels = joined(split.train["known_path"]).unique().sort()
    codes = joined(split.train["known_path"]).replace_strict(labels, np.arange(len(labels)), return_dtype=pl.Int64)
    vectoriser = vectoriser_of(spec, recipe)
    design = vectoriser.fit(split.train)
    tree = Tree(labels.str.split(PATH_SEPARATOR).to_list())
    linear = fit_linear(design, codes.to_numpy(), len(tree), recipe.params.model, 0, tree.uppers)
    vectoriser.weigh(linear)
    parts = vectoriser.parts({name: split.test[name] for name in vectoriser.reads})
    best = score(parts, linear.intercept, split.test.height).argmax(axis=1)
    return labels.gather(best).str.split(PATH_SEPARATOR)


def _stripped(frame: pl.DataFrame) -> pl.DataFrame:
    """Posts without header, quotes and footer, as scikit-learn's loader of the set removes them."""
    import polars as pl
    from sklearn.datasets import _twenty_newsgroups as posts

    def body(text: str) -> str:
        text = posts.strip_newsgroup_header(text) if "\n\n" in text else text
        return str(posts.strip_newsgroup_footer(posts.strip_newsgroup_quoting(text)))

    return frame.with_columns(pl.Series("text", [body(text) for text in frame["text"]]))


_NEWS_TEST = "newsgroups/test.jsonl.gz"
_NEWS = ("newsgroups", "newsgroups/train.jsonl.gz")
_INDIA = ("amazon_india", "amazon_india/products.parquet")
PROTOCOLS = (
    Protocol("newsgroups", *_NEWS, "fitted on the training file, measured on the test file", _NEWS_TEST),
    Protocol(
        "newsgroups, stripped",
        *_NEWS,
        "the same without headers, quotes and footers",
        _NEWS_TEST,
        prepare=_stripped,
    ),
    Protocol(
        "asos",
        "asos",
        "asos/exercise_train.tsv",
        "8 stratified folds in the file's order; by such folds of the same rows its weights were chosen",
        folds=8,
    ),
    Protocol("elo7", "elo7", "elo7/products.csv", "5 folds grouped by title", folds=5, group="title"),
    Protocol(
        "amazon_india",
        "amazon_india",
        "amazon_india/products.parquet",
        "5 folds grouped by name",
        folds=5,
        group="name",
    ),
    Protocol(
        "gpc",
        "gpc",
        "mwpd_gpc/train.jsonl.gz",
        "fitted on the training file, measured on the validation file",
        "mwpd_gpc/validation.jsonl.gz",
    ),
)
