"""(f) Solvers of the linear model: LinearSVC, AdaGradClassifier and averaged SGD on the same matrix."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.products import SHARED, canonical, make
from benchmarks.results import Column, Report
from benchmarks.vectoriser import GENERATED, SETS

__all__ = ["compare", "run"]

GENERATED_ROWS = 100_000
SOLVERS = {"svc": "LinearSVC", "adagrad": "AdaGradClassifier", "sgd": "SGDClassifier, averaged"}


def run(options: Options) -> Report:
    """Measure."""
    report = Report(
        "solvers",
        "Solvers of the linear model",
        "The design matrix of `linear-fast`, fitted on the training rows, measured on the frozen hold-out.",
        [
            Column("rows", "training rows"),
            Column("entries", "entries"),
            Column("labels", "labels"),
            Column("accuracy", "accuracy", ".4f"),
            Column("macro_f1", "macro F1", ".4f"),
            Column("seconds", "seconds", ",.1f"),
            Column("cpu_s", "processor s", ",.1f"),
        ],
        charts=(("macro_f1", "macro F1"), ("seconds", "seconds")),
    )
    source = make(options.folder, options.size(GENERATED_ROWS), seed=0)
    files = {name: (name, SHARED / "data" / path) for name, path in SETS.items()}
    files[GENERATED] = (source.catalog, source.path)
    for name, (catalog, path) in files.items():
        if not path.is_file():
            report.missing(name, "skipped: this real set is not beside the project")
            continue
        options.say(f"solvers: {name}")
        own = {"source": str(path), "catalog": catalog, "rows": options.rows}
        for solver, figures in measured(compare, own).facts.items():
            report.add(f"{name}: {SOLVERS[solver]}", **figures)
    report.notes += [
        "LinearSVC as the recipes use it (tol 0.1).",
        "Averaged SGD: scikit-learn's SGDClassifier with squared hinge loss, alpha 1e-6, 5 epochs, both cores.",
        f"“{GENERATED}”: {source.maker}.",
    ]
    return report


def compare(source: str, catalog: str, rows: int | None) -> Work:
    """Job: every solver on one set."""
    import numpy as np
    import polars as pl

    from classifier.holdout import holdout_mask
    from classifier.linear import fit_linear
    from classifier.metrics import evaluate
    from classifier.parts import score
    from classifier.recipes import resolve
    from classifier.vectoriser import ProductVectoriser

    spec, frame = canonical(Path(source), catalog)
    frame = frame.sample(min(rows or frame.height, frame.height), seed=0)
    held = holdout_mask(frame["text_hash"], spec.holdout.share)
    train, holdout = frame.filter(~held), frame.filter(held)
    vectoriser = ProductVectoriser(spec.fields, resolve(spec, "linear-fast"))
    design = vectoriser.fit(train)
    joined = train.select(pl.col("known_path").list.join("\0"))["known_path"]
    labels = joined.unique().sort()
    codes = joined.replace_strict(labels, np.arange(len(labels)), return_dtype=pl.Int64).to_numpy()

    def measure(solver: str) -> dict[str, Any]:
        started, cpu = time.perf_counter(), time.process_time()
        if solver == "sgd":
            linear = _sgd(design, codes, len(labels))
        else:
            params = resolve(spec, "linear-fast", {"model.solver": solver, "model.bayes": "0"}).params.model
            linear = fit_linear(design, codes, len(labels), params, 0)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        vectoriser.weigh(linear)
        parts = vectoriser.parts({name: holdout[name] for name in vectoriser.reads})
        best = score(parts, linear.intercept, holdout.height).argmax(axis=1)
        predicted = labels.gather(best).str.split("\0")
        metrics = evaluate(holdout["known_path"], predicted, spec.levels)
        return {
            "rows": train.height,
            "entries": design.nnz,
            "labels": len(labels),
            "accuracy": metrics["accuracy"],
            "macro_f1": metrics["macro_f1"],
            "seconds": seconds,
            "cpu_s": cpu_s,
        }

    return lambda: {solver: measure(solver) for solver in SOLVERS}


def _sgd(design: Any, codes: Any, labels: int) -> Any:
    from sklearn.linear_model import SGDClassifier

    from benchmarks.machine import CORES
    from classifier.linear import from_estimator

    solver = SGDClassifier(
        loss="squared_hinge", alpha=1e-6, average=True, max_iter=5, tol=None, n_jobs=CORES, random_state=0
    )
    return from_estimator(solver.fit(design.whole(), codes), labels)
