"""Accuracy of the recipes on the real sets, beside what people start from."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.protocols import PROTOCOLS, Split, answered
from benchmarks.results import Column, Report

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec

__all__ = ["compare", "run"]

RECIPES: dict[str, tuple[str, dict[str, str]]] = {
    "linear": ("linear", {}),
    "linear, without naive Bayes": ("linear", {"model.bayes": "0"}),
    "linear-fast": ("linear-fast", {}),
}
PLAIN = {"plain words": (1, 1), "plain words and bigrams": (1, 2)}
GOALS = {
    "newsgroups": (("accuracy", 0.960),),
    "newsgroups, stripped": (("accuracy", 0.82),),
    "asos": (("accuracy", 0.850), ("macro_f1", 0.790)),
    "elo7": (("accuracy", 0.885), ("macro_f1", 0.855)),
    "amazon_india": (("first_accuracy", 0.92), ("first_macro_f1", 0.82), ("accuracy", 0.81), ("macro_f1", 0.61)),
    "gpc": (("mean_weighted_f1", 0.90),),
}
NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "first_accuracy": "accuracy of the first level",
    "first_macro_f1": "macro F1 of the first level",
    "mean_weighted_f1": "mean over the levels of weighted F1",
}


def run(options: Options) -> Report:
    """Measure."""
    report = Report(
        "accuracy",
        "Accuracy on the real sets",
        "Each recipe with the catalogue's own parameters, fitted and measured as the protocol below says. “Plain” is "
        "scikit-learn's TfidfVectorizer on all text joined under LinearSVC, all defaults but the n-grams and the "
        "tolerance (0.1, liblinear's own).",
        [
            Column("rows", "rows measured"),
            Column("accuracy", "accuracy", ".4f"),
            Column("macro_f1", "macro F1", ".4f"),
            Column("first_accuracy", "first level: accuracy", ".4f"),
            Column("first_macro_f1", "first level: macro F1", ".4f"),
            Column("mean_weighted_f1", "mean weighted F1", ".4f"),
            Column("seconds", "seconds", ",.0f"),
        ],
        charts=(("accuracy", "accuracy"), ("macro_f1", "macro F1")),
        ours=("linear",),
    )
    for protocol in PROTOCOLS:
        if not protocol.is_there:
            report.missing(protocol.name, "skipped: this real set is not beside the project")
            continue
        for way in (*RECIPES, *PLAIN):
            options.say(f"accuracy: {protocol.name}, {way}")
            own = {"name": protocol.name, "way": way, "rows": options.rows}
            report.add(f"{protocol.name}: {way}", **measured(compare, own).facts)
        report.notes.append(f"{protocol.name}: {protocol.what}.")
        for key, least in GOALS[protocol.name]:
            value = report.value(f"{protocol.name}: linear", key)
            report.reach(f"{protocol.name}: {NAMES[key]} ≥ {least}", value, least=least)
    report.notes.append(
        "Seconds: fitting and answering, all folds. Labels of several levels count as right when the whole path is."
    )
    return report


def compare(name: str, way: str, rows: int | None) -> Work:
    """Job: one way on one set."""
    import polars as pl

    from classifier.metrics import evaluate

    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    spec, frame = protocol.read(protocol.train)
    if rows:
        frame = frame.sample(min(rows, frame.height), seed=0)
        protocol = replace(protocol, group="text_hash" if protocol.group is None else protocol.group)
    splits = list(protocol.splits(frame))

    def work() -> dict[str, Any]:
        started = time.perf_counter()
        given = pl.concat([_answers(split, spec, way) for split in splits])
        seconds = time.perf_counter() - started
        truth = pl.concat([split.test["known_path"] for split in splits])
        found = evaluate(truth, given, spec.levels)
        facts = {"rows": len(truth), "accuracy": found["accuracy"], "macro_f1": found["macro_f1"], "seconds": seconds}
        if "levels" not in found:
            return facts
        levels = list(found["levels"].values())
        facts |= {"first_accuracy": levels[0]["accuracy"], "first_macro_f1": levels[0]["macro_f1"]}
        return facts | {"mean_weighted_f1": sum(level["weighted_f1"] for level in levels) / len(levels)}

    return work


def _answers(split: Split, spec: CatalogSpec, way: str) -> pl.Series:
    from classifier.recipes import resolve

    if way in PLAIN:
        return _plain(split, spec, PLAIN[way])
    recipe, overrides = RECIPES[way]
    return answered(split, spec, resolve(spec, recipe, overrides))


def _plain(split: Split, spec: CatalogSpec, ngrams: tuple[int, int]) -> pl.Series:
    import polars as pl
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    from benchmarks.protocols import PATH_SEPARATOR, joined

    def texts(frame: pl.DataFrame) -> list[str]:
        return frame.select(pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True)).to_series().to_list()

    # liblinear's own tolerance: hours less on hundreds of labels, the same third digit.
    model = make_pipeline(TfidfVectorizer(ngram_range=ngrams), LinearSVC(tol=0.1))
    model.fit(texts(split.train), joined(split.train["known_path"]).to_list())
    given = [str(label) for label in model.predict(texts(split.test))]
    return pl.Series(given, dtype=pl.String).str.split(PATH_SEPARATOR)
