"""How well confidences mean what they say, and whether what is accepted is as precise as was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.protocols import PROTOCOLS, Split, joined
from benchmarks.results import Column, Report

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec
    from classifier.tree import Tree

__all__ = ["compare", "run"]

SETS = ("newsgroups", "asos", "elo7", "amazon_india", "gpc")
REPETITIONS = 100
ENOUGH_ROWS = 5_000
"""From so many hold-out rows on an ECE is held against the goal: of fewer it is mostly chance."""
OURS = "temperature and isotonic (Aisle)"


def run(options: Options) -> Report:
    """Measure."""
    report = Report(
        "calibration",
        "Calibration and acceptance",
        "Scores of the recipe `linear`. Each method is fitted on out-of-fold scores of the training rows, grouped by "
        "text, and measured on rows that were held out: of the label that is given, log loss and Brier score of “it is "
        "right”, and expected calibration error (15 bins of equally many rows). Acceptance: the out-of-fold rows are "
        f"cut in two at random, {REPETITIONS} times, equal texts on one side; calibration and thresholds come of one "
        "half, precision and coverage of what they accept are counted on the other.",
        [
            Column("rows", "rows measured"),
            Column("log_loss", "log loss", ".4f"),
            Column("brier", "Brier score", ".4f"),
            Column("ece", "ECE", ".4f"),
            Column("target", "precision asked", ".2f"),
            Column("precision", "precision, mean", ".4f"),
            Column("coverage", "coverage, mean", ".3f"),
            Column("kept", "repetitions that kept it"),
        ],
        charts=(("log_loss", "log loss"), ("ece", "expected calibration error")),
        ours=(OURS,),
    )
    for protocol in PROTOCOLS:
        if protocol.name not in SETS:
            continue
        if not protocol.is_there:
            report.missing(protocol.name, "skipped: this real set is not beside the project")
            continue
        options.say(f"calibration: {protocol.name}")
        found = measured(compare, {"name": protocol.name, "rows": options.rows}).facts
        for method, facts in found["methods"].items():
            if isinstance(facts, str):
                report.missing(f"{protocol.name}: {method}", facts)
            else:
                report.add(f"{protocol.name}: {method}", **facts)
        report.add(f"{protocol.name}: acceptance", **found["acceptance"])
        _goals(report, protocol.name)
    return report


def _goals(report: Report, name: str) -> None:
    rows = report.value(f"{name}: {OURS}", "rows") or 0
    if rows >= ENOUGH_ROWS:
        report.reach(f"{name}: ECE ≤ 0.02", report.value(f"{name}: {OURS}", "ece"), most=0.02)
    kept = report.value(f"{name}: acceptance", "kept")
    report.reach(f"{name}: accepted rows meet the target in ≥ 95 of {REPETITIONS} repetitions", kept, least=95)


def compare(name: str, rows: int | None) -> Work:
    """Job: every method on one set."""
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    spec, frame = protocol.read(protocol.train)
    if rows:
        frame = frame.sample(min(rows, frame.height), seed=0)
    split = next(protocol.splits(frame))

    def work() -> dict[str, Any]:
        scored = _scored(split, spec)
        methods: dict[str, Any] = {}
        for method, fit in METHODS.items():
            try:
                confidence = fit(scored)(scored.test)
            except ImportError as error:
                methods[method] = f"not installed: {error.name}"
                continue
            methods[method] = _measures(confidence, scored.right)
        return {"methods": methods, "acceptance": _acceptance(scored, spec)}

    return work


@dataclass(frozen=True)
class _Scored:
    """Out-of-fold scores of training rows with the right labels, and scores of rows held out."""

    tree: Tree
    held: NDArray[np.float32]
    truth: NDArray[np.int64]
    learnt: NDArray[np.bool_]
    text_hash: pl.Series
    test: NDArray[np.float32]
    right: NDArray[np.bool_]


def _scored(split: Split, spec: CatalogSpec) -> _Scored:

    from classifier.linear import fit_linear
    from classifier.model import vectoriser_of
    from classifier.parts import score
    from classifier.recipes import resolve
    from classifier.training import out_of_fold
    from classifier.tree import Tree

    recipe = resolve(spec, "linear")
    labels = joined(split.train["known_path"]).unique().sort()
    tree = Tree(labels.str.split("\0").to_list())
    place = {label: number for number, label in enumerate(labels)}
    codes = np.array([place[label] for label in joined(split.train["known_path"])], dtype=np.int64)
    known = np.array([place.get(label, -1) for label in joined(split.test["known_path"])], dtype=np.int64)
    vectoriser = vectoriser_of(spec, recipe)
    design = vectoriser.fit(split.train)
    text_hash = split.train["text_hash"]
    held = out_of_fold(design, vectoriser.layout, codes, tree, text_hash, recipe.params, 0)
    linear = fit_linear(design, codes, len(tree), recipe.params.model, 0, tree.uppers)
    vectoriser.weigh(linear)
    columns = {name: split.test[name] for name in vectoriser.reads}
    test = np.asarray(score(vectoriser.parts(columns), linear.intercept, split.test.height), dtype=np.float32)
    scores = np.asarray(held.scores, dtype=np.float32)
    own_text, right = text_hash.gather(held.rows), test.argmax(axis=1) == known
    return _Scored(tree, scores, codes[held.rows], held.learnt, own_text, test, right)


Confidence = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def _ours(scored: _Scored) -> Confidence:
    from classifier.calibration import fit_calibration

    calibration = fit_calibration(scored.held, scored.truth, scored.tree)
    return lambda scores: calibration.rank(scores).confidence


def _temperature(scored: _Scored) -> Confidence:
    from classifier.calibration import fit_calibration

    temperature = fit_calibration(scored.held, scored.truth, scored.tree).temperature
    return lambda scores: _probabilities(scores, temperature).max(axis=1)


def _one_against_the_rest(method: str) -> Callable[[_Scored], Confidence]:
    """scikit-learn's way (CalibratedClassifierCV): one calibrator a label, then shares of their sum."""

    def fit(scored: _Scored) -> Confidence:
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import LogisticRegression

        made: list[Callable[[NDArray[np.float32]], NDArray[np.float64]]] = []
        for label in range(len(scored.tree)):
            own, hit = scored.held[:, label], scored.truth == label
            if method == "isotonic":
                made.append(IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(own, hit).predict)
            elif hit.any():
                made.append(partial(_sigmoid, LogisticRegression(C=1e6).fit(own[:, None], hit)))
            else:
                made.append(lambda scores: np.zeros(len(scores)))

        def confidence(scores: NDArray[np.float32]) -> NDArray[np.float64]:
            shares = np.column_stack([one(scores[:, label]) for label, one in enumerate(made)])
            shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
            return np.asarray(shares[np.arange(len(scores)), scores.argmax(axis=1)])

        return confidence

    return fit


def _sigmoid(curve: Any, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(curve.predict_proba(scores[:, None])[:, 1])


def _mapie(scored: _Scored) -> Confidence:
    from mapie.calibration import TopLabelCalibrator

    model = _Fitted(len(scored.tree))
    calibrator = TopLabelCalibrator(estimator=model, calibrator="isotonic", cv="prefit")
    calibrator.fit(scored.held, scored.truth)
    return lambda scores: np.nanmax(calibrator.predict_proba(scores), axis=1)


class _Fitted:
    """Scores as a fitted classifier, for libraries that calibrate one."""

    _estimator_type = "classifier"

    def __init__(self, labels: int) -> None:
        self.classes_ = np.arange(labels)
        self.n_features_in_ = labels

    def fit(self, *_: Any) -> _Fitted:
        """Nothing to learn."""
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803 - called by that name
        """Softmax."""
        return _probabilities(np.asarray(X), 1.0)

    def predict(self, X: Any) -> NDArray[np.int64]:  # noqa: N803
        """The best label."""
        return np.asarray(np.asarray(X).argmax(axis=1))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags("classifier", TargetTags(required=True), None, ClassifierTags(), None, input_tags=InputTags())

    def __sklearn_is_fitted__(self) -> bool:
        """It is."""
        return True


METHODS: dict[str, Callable[[_Scored], Confidence]] = {
    OURS: _ours,
    "softmax as it is": lambda _: lambda scores: _probabilities(scores, 1.0).max(axis=1),
    "temperature alone": _temperature,
    "isotonic, a label at a time (scikit-learn)": _one_against_the_rest("isotonic"),
    "Platt, a label at a time (scikit-learn)": _one_against_the_rest("sigmoid"),
    "isotonic by top label (MAPIE)": _mapie,
}


def _probabilities(scores: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)).astype(np.float64) * temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _measures(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, float]:
    from classifier.calibration import calibration_error

    sure = np.clip(confidence, 1e-6, 1 - 1e-6)
    loss = -np.mean(np.where(right, np.log(sure), np.log(1 - sure)))
    return {
        "rows": len(right),
        "log_loss": float(loss),
        "brier": float(np.mean((confidence - right) ** 2)),
        "ece": calibration_error(confidence, right),
    }


def _acceptance(scored: _Scored, spec: CatalogSpec) -> dict[str, Any]:
    target = spec.accept.precision_target
    found = list(_repetitions(scored, target, spec.accept.confidence_level))
    accepting = [precision for precision, coverage in found if coverage]
    return {
        "rows": len(scored.truth) // 2,
        "target": target,
        "precision": float(np.mean(accepting)) if accepting else None,
        "coverage": float(np.mean([coverage for _, coverage in found])),
        "kept": REPETITIONS - sum(precision < target for precision in accepting),
    }


def _repetitions(scored: _Scored, target: float, level: float) -> Iterator[tuple[float, float]]:
    """Precision and coverage of what is accepted in one half by thresholds of the other, again and again."""
    from classifier.calibration import fit_calibration
    from classifier.thresholds import proof, thresholds_of_tree

    random = np.random.default_rng(0)
    text = scored.text_hash.rank("dense").to_numpy() - 1
    for _ in range(REPETITIONS):
        is_known = random.permutation(int(text.max()) + 1)[text] % 2 == 0
        known, fresh = np.flatnonzero(is_known), np.flatnonzero(~is_known)
        calibration = fit_calibration(scored.held[known], scored.truth[known], scored.tree, scored.learnt[known])
        ranked = calibration.rank(scored.held[known])
        said = ranked.label, ranked.path_confidence, scored.truth[known]
        table = thresholds_of_tree(scored.tree, *said, target, level, proof(scored.text_hash.gather(known)))
        limits = dict(table.select("label", "threshold").iter_rows())
        yield _precision(scored, calibration.rank(scored.held[fresh]), scored.truth[fresh], limits)


def _precision(
    scored: _Scored, ranked: Any, truth: NDArray[np.int64], limits: dict[str, float | None]
) -> tuple[float, float]:
    """A path that stops early is right when the known one goes that way."""
    depth = np.zeros(len(truth), dtype=np.int64)
    right = np.zeros(len(truth), dtype=np.bool_)
    for level, nodes in enumerate(scored.tree.nodes):
        named = [limits.get(" > ".join(name)) for name in scored.tree.names(level)]
        least = np.array([2.0 if limit is None else limit for limit in named])
        reached = (scored.tree.lengths[ranked.label] > level) & (
            ranked.path_confidence[:, level] >= least[nodes[ranked.label]]
        )
        depth[reached] = level + 1
        right[reached] = (nodes[ranked.label] == nodes[truth])[reached]
    accepted = depth > 0
    return float(right[accepted].mean()) if accepted.any() else 1.0, float(accepted.mean())
