"""Labels that are paths: Aisle beside a flat classifier and hiclass's local classifiers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.protocols import PROTOCOLS, joined
from benchmarks.results import Column, Report

if TYPE_CHECKING:
    import polars as pl
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from classifier.tree import Tree

__all__ = ["compare", "run"]

SETS = ("amazon_india", "gpc")
AISLE, FLAT = "Aisle: models of all levels, summed", "flat: one model of the leaves"
HICLASS = {
    "hiclass: per parent node": "LocalClassifierPerParentNode",
    "hiclass: per level": "LocalClassifierPerLevel",
    "hiclass: per node": "LocalClassifierPerNode",
}
LEVELS = 3


def run(options: Options) -> Report:
    """Measure."""
    columns = [Column("rows", "rows measured"), Column("accuracy", "whole path: accuracy", ".4f")]
    columns += [Column("macro_f1", "whole path: macro F1", ".4f")]
    for level in range(1, LEVELS + 1):
        columns += [Column(f"accuracy{level}", f"level {level}: accuracy", ".4f")]
        columns += [Column(f"weighted{level}", f"level {level}: weighted F1", ".4f")]
    columns += [Column("hierarchical_f1", "hierarchical F1", ".4f"), Column("seconds", "seconds", ",.0f")]
    report = Report(
        "paths",
        "Label paths",
        "The same features (those of the recipe `linear-fast`), split as in accuracy.md (amazon_india: the first of "
        "its folds). Aisle: one against the rest for whole paths and for every upper level, added up. Flat: whole "
        "paths alone, by the same solver. hiclass: its local classifiers over scikit-learn's LinearSVC (C 1, tol 0.1).",
        columns,
        charts=(("accuracy", "whole path: accuracy"), ("hierarchical_f1", "hierarchical F1")),
    )
    for protocol in PROTOCOLS:
        if protocol.name not in SETS:
            continue
        if not protocol.is_there:
            report.missing(protocol.name, "skipped: this real set is not beside the project")
            continue
        for way in (AISLE, FLAT, *HICLASS):
            options.say(f"paths: {protocol.name}, {way}")
            own = {"name": protocol.name, "way": way, "rows": options.rows}
            facts = measured(compare, own).facts
            if "status" in facts:
                report.missing(f"{protocol.name}: {way}", facts["status"])
            else:
                report.add(f"{protocol.name}: {way}", **facts)
    return report


def compare(name: str, way: str, rows: int | None) -> Work:
    """Job: one way on one set."""
    from classifier.metrics import evaluate
    from classifier.model import vectoriser_of
    from classifier.recipes import resolve
    from classifier.tree import Tree

    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    spec, frame = protocol.read(protocol.train)
    if rows:
        frame = frame.sample(min(rows, frame.height), seed=0)
    split = next(protocol.splits(frame))
    keys = joined(split.train["known_path"])
    labels = keys.unique().sort()
    tree = Tree(labels.str.split("\0").to_list())
    place = {label: number for number, label in enumerate(labels)}
    codes = np.array([place[key] for key in keys], dtype=np.int64)
    vectoriser = vectoriser_of(spec, resolve(spec, "linear-fast"))
    design = vectoriser.fit(split.train)

    def work() -> dict[str, Any]:
        started = time.perf_counter()
        try:
            given = _given(way, vectoriser, design, codes, tree, split.test)
        except ImportError as error:
            return {"status": f"not installed: {error.name}"}
        seconds = time.perf_counter() - started
        found = evaluate(split.test["known_path"], given, spec.levels)
        facts = {"rows": len(given), "accuracy": found["accuracy"], "macro_f1": found["macro_f1"]}
        for level, own in enumerate(found["levels"].values(), 1):
            facts |= {f"accuracy{level}": own["accuracy"], f"weighted{level}": own["weighted_f1"]}
        return facts | {"hierarchical_f1": found["hierarchical"]["f1"], "seconds": seconds}

    return work


def _given(
    way: str, vectoriser: Any, design: Any, codes: NDArray[np.int64], tree: Tree, test: pl.DataFrame
) -> pl.Series:
    import polars as pl
    import scipy.sparse as sp

    from classifier.linear import fit_linear
    from classifier.parts import score
    from classifier.recipes import LinearParams

    columns = {name: test[name] for name in vectoriser.reads}
    paths = pl.Series(tree.paths, dtype=pl.List(pl.String))
    if way in HICLASS:
        from importlib import import_module

        kind = getattr(import_module("hiclass"), HICLASS[way])
        truth = np.array([[*path, *[""] * (tree.depth - len(path))] for path in tree.paths], dtype=object)[codes]
        model = kind(local_classifier=_svc(), n_jobs=2)
        model.fit(design.whole(), truth)
        vectoriser.weigh(fit_linear(design, codes, len(tree), LinearParams(solver="adagrad", epochs=1), 0))
        rows = sp.hstack([part.rows.to_csr() for part in _all_parts(vectoriser, columns)], format="csr")
        said = model.predict(rows)
        return pl.Series([[str(node) for node in path if node] for path in said], dtype=pl.List(pl.String))
    params = LinearParams(bayes=0.0)
    linear = fit_linear(design, codes, len(tree), params, 0, tree.uppers if way == AISLE else ())
    vectoriser.weigh(linear)
    best = score(vectoriser.parts(columns), linear.intercept, test.height).argmax(axis=1)
    return paths.gather(best)


def _svc() -> Any:
    """LinearSVC; where hiclass chooses among the children of the node before, it asks for probabilities."""
    from sklearn.svm import LinearSVC

    class Svc(LinearSVC):  # type: ignore[misc]
        def predict_proba(self, rows: sp.csr_matrix) -> NDArray[np.float64]:
            """Logistic of the distances, one against the rest, as scikit-learn has it for its linear models."""
            return np.asarray(self._predict_proba_lr(rows))

    return Svc(C=1.0, tol=0.1, random_state=0)


def _all_parts(vectoriser: Any, columns: Any) -> list[Any]:
    """The parts of every field, in the order of the design's columns; a field without a value still has its width."""
    from classifier.parts import Part, Rows, WordNames

    parts = []
    for own in vectoriser.fields:
        found = own.parts(columns[own.name])
        if not found:
            import polars as pl

            rows = len(next(iter(columns.values())))
            empty = np.zeros(rows + 1, dtype=np.int64)
            no_ids, none = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
            found = [
                Part(own.name, Rows(empty, no_ids, none, width), none, WordNames(pl.Series([], dtype=pl.String)))
                for width in own.widths
            ]
        parts += found
    return parts
