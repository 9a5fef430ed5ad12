"""Naive Bayes beside the linear model: the published weights, without multiplying the subwords out."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from sklearn.naive_bayes import ComplementNB
from sklearn.svm import LinearSVC

from classifier import training
from classifier.bayes import blend
from classifier.calibration import calibration_error, fit_calibration
from classifier.design import Design, Product
from classifier.linear import Linear, fit_linear, settled, solver_of
from classifier.model import fit
from classifier.recipes import LinearParams, RecipeParams, resolve
from classifier.tree import Tree
from tests.products import plain, shop

LABELS = 4


@pytest.fixture(scope="module")
def design() -> Design:
    """Words beside a product of words and subwords, some rows left out."""
    words = sp.random_array((300, 40), density=0.2, format="csr", dtype=np.float32, rng=np.random.default_rng(1))
    subwords = sp.random_array((40, 25), density=0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(2))
    words, subwords = sp.csr_matrix(words), sp.csr_matrix(subwords)
    return Design([words, Product((words,), (subwords,))]).subset(np.arange(0, 300, 2))


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return np.random.default_rng(3).integers(0, LABELS, 150)


def test_sums_by_label_are_those_of_the_matrix_multiplied_out(design: Design, codes: np.ndarray) -> None:
    whole = design.whole().toarray()
    wanted = np.stack([whole[codes == label].sum(axis=0) for label in range(LABELS)])
    np.testing.assert_allclose(design.sums_by_label(codes, LABELS), wanted, rtol=1e-4, atol=1e-5)


def test_what_is_added_is_complement_naive_bayes(design: Design, codes: np.ndarray) -> None:
    whole = design.whole()
    linear = np.random.default_rng(4).normal(size=(whole.shape[1], LABELS)).astype(np.float32)
    added = blend(linear, design, codes, 0.5) - linear
    weights = ComplementNB(alpha=0.03).fit(whole, codes).feature_log_prob_.T
    weights -= weights.mean(axis=1, keepdims=True)
    scale = 0.5 * (whole @ linear).std() / (whole @ weights).std()
    np.testing.assert_allclose(added, scale * weights, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_without_weight_nothing_is_added(design: Design, codes: np.ndarray, weight: float) -> None:
    params = LinearParams(solver="svc", bayes=weight)
    bare = LinearSVC(C=params.C, tol=0.1, random_state=0).fit(design.whole(), codes)
    fitted = fit_linear(design, codes, LABELS, params, seed=0)
    assert np.allclose(fitted.coefficients, bare.coef_.T, atol=1e-6) is (weight == 0)


def test_epochs_are_as_many_as_asked_for_or_fewer_where_rows_are_very_many() -> None:
    asked = {rows: settled(LinearParams(), rows).epochs for rows in (1, 20_000, 600_000, 1_000_000, 100_000_000)}
    assert asked == {1: 5, 20_000: 5, 600_000: 5, 1_000_000: 3, 100_000_000: 2}
    assert settled(LinearParams(epochs=9), 100_000_000).epochs == 9
    part = settled(settled(LinearParams(), 1_000_000), 400_000)
    assert (part.solver, part.epochs) == ("adagrad", 3)


@pytest.mark.parametrize("rows", [22_000])
def test_folds_are_fitted_with_the_solver_of_all_rows(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Four fifths of these rows alone would have another solver: calibration would be that of another model."""
    params = LinearParams()
    assert (solver_of(params, rows), solver_of(params, rows * 4 // 5)) == ("adagrad", "svc")
    used = []

    def fitted(design: Design, codes: np.ndarray, labels: int, params: LinearParams, *_: object) -> Linear:
        used.append(solver_of(params, design.shape[0], design.nnz))
        return Linear(np.zeros((design.shape[1], labels), np.float32), np.zeros(labels, np.float32))

    monkeypatch.setattr(training, "fit_linear", fitted)
    words = sp.csr_matrix((np.ones(rows, np.float32), (np.arange(rows), np.arange(rows) % 7)))
    layout = training.Layout(np.array([7]), np.zeros(7, bool), np.ones(1))
    hashes = pl.Series([hashlib.sha256(str(n).encode()).hexdigest() for n in range(rows)])
    training.out_of_fold(
        Design([words]), layout, np.arange(rows) % 3, Tree([["a"], ["b"], ["c"]]), hashes, RecipeParams(), 0
    )
    assert set(used) == {"adagrad"}


@pytest.mark.parametrize("labels", [2, 3, 20])
def test_what_is_unlike_everything_seen_is_not_sure_of_its_label(labels: int) -> None:
    """Not a single error out of fold: the curve must still lead down to chance for scores that say nothing."""
    truth = np.arange(2_000) % labels
    scores = np.random.default_rng(0).normal(-1.0, 0.1, (2_000, labels)).astype(np.float32)
    scores[np.arange(2_000), truth] += 2.0
    calibration = fit_calibration(scores, truth, plain(labels))
    nothing = calibration.rank(np.full((1, labels), -1.0, dtype=np.float32))
    assert nothing.confidence[0] < 1 / labels + 0.05
    sure = calibration.rank(scores)
    assert sure.confidence.mean() > 0.99
    assert calibration_error(sure.confidence, sure.label == truth) < 0.01


@pytest.mark.parametrize("spread", [0.01, 1.0, 50.0])
def test_best_and_second_label_never_have_more_than_everything(spread: float) -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 5, 500)
    scores = random.normal(0, spread, (500, 5)).astype(np.float32)
    scores[np.arange(500), truth] += 3 * spread
    ranked = fit_calibration(scores, truth, plain(5)).rank(scores * np.float32(10))
    assert (ranked.confidence + ranked.runner_up_confidence <= 1 + 1e-12).all()
    assert (ranked.runner_up_confidence <= ranked.confidence).all()


def test_nonsense_goes_to_review_where_the_labels_are_easy() -> None:
    spec, products = shop()
    kinds = {"a": "teapot kettle mug saucer", "b": "spade rake hose seed", "c": "stapler pen folder ink"}
    title = [f"{word} {n}" for n in range(100) for words in kinds.values() for word in words.split()]
    path = [[kind] for _ in range(100) for kind, words in kinds.items() for _ in words.split()]
    easy = (
        products.head(1)
        .select(pl.all().first().repeat_by(len(title)).explode())
        .with_columns(
            pl.Series("title", title),
            pl.Series("known_path", path),
            pl.Series("text_hash", [f"{n * 2654435761 % 2**64:032x}"[::-1] for n in range(len(title))]),
            *(
                pl.lit(None, dtype=kind).alias(name)
                for name, kind in products.schema.items()
                if name in {"description", "brand", "also_buy", "price"}
            ),
        )
    )
    model = fit(easy, spec, resolve(spec), 0)
    thresholds = dict(zip(model.thresholds["label"], model.thresholds["threshold"], strict=True))
    known, strange = model.predict_rows([{"title": "rake hose"}, {"title": "xyzzy qwfp zzzz"}])
    assert known["confidence"] >= thresholds["b"]
    assert strange["confidence"] < thresholds[strange["label"]]


def test_models_of_upper_levels_are_added_to_all_labels_below(design: Design, codes: np.ndarray) -> None:
    """`model.levels`: one linear model again, whose weights are the sum of those of every level."""
    tree = Tree([[f"top {code // 2}", f"label {code}"] for code in range(LABELS)])
    params = LinearParams(solver="svc", bayes=0.0, levels=0.5)
    both = fit_linear(design, codes, LABELS, params, 0, tree.uppers)
    leaves = fit_linear(design, codes, LABELS, params, 0)
    top = tree.uppers[0]
    upper = fit_linear(design, top[codes], int(top.max()) + 1, params, 0)
    np.testing.assert_allclose(both.coefficients, leaves.coefficients + 0.5 * upper.coefficients[:, top], atol=1e-6)
    np.testing.assert_allclose(both.intercept, leaves.intercept + 0.5 * upper.intercept[top], atol=1e-6)


def test_a_path_that_ends_early_is_a_node_of_its_own() -> None:
    tree = Tree([["a"], ["a", "b"], ["a", "c"], ["d"]])
    assert [nodes.tolist() for nodes in tree.nodes] == [[0, 0, 0, 1], [0, 1, 2, 3]]
    assert tree.depth == 2
    assert tree.lengths.tolist() == [1, 2, 2, 1]
