"""The solver for many rows: what its compiled steps give is what the published rule does, written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from classifier import steps
from classifier.adagrad import AdaGradClassifier
from classifier.design import Design, Product
from classifier.parts import Rows, add_product

ROWS, LABELS = 700, 5


def entries(rows: int, columns: int, density: float, seed: int) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix(sp.random_array((rows, columns), density=density, format="csr", dtype=np.float32, rng=rng))


@pytest.fixture(scope="module")
def design() -> Design:
    """Words, n-grams, and subwords of known and of rare words, some rows left out; rows without entries among them."""
    words, rare, grams = (entries(ROWS, *own) for own in ((60, 0.1, 1), (30, 0.01, 2), (90, 0.02, 3)))
    subwords = Product((words, rare), (entries(60, 25, 0.3, 4), entries(30, 25, 0.3, 5)))
    return Design([words, grams, subwords]).subset(np.random.default_rng(6).permutation(ROWS)[:500])


@pytest.fixture(scope="module")
def codes(design: Design) -> np.ndarray:
    """Labels that the first words tell, but for every tenth."""
    told = design.whole()[:, :LABELS].toarray().argmax(axis=1)
    rng = np.random.default_rng(7)
    return np.where(rng.random(len(told)) < 0.1, rng.integers(0, LABELS, len(told)), told)


def by_hand(design: Design, codes: np.ndarray, epochs: int, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (columns × labels) and intercepts, in float64, of batches of 128."""
    matrix = design.whole().toarray().astype(np.float64)
    labels = codes.max() + 1
    weights, seen = np.zeros((matrix.shape[1], labels)), np.zeros(matrix.shape[1])
    intercept, intercept_seen = np.zeros(labels), np.zeros(labels)
    rng = np.random.default_rng(seed)
    batches = [one for _ in range(epochs) for one in np.split(rng.permutation(len(codes)), range(128, len(codes), 128))]
    for number, batch in enumerate(batches):
        signs = np.where(codes[batch, None] == np.arange(labels), 1.0, -1.0)
        margins = signs * (matrix[batch] @ weights + intercept)
        slopes = -signs * np.maximum(1 - margins, 0)
        gradient, now = matrix[batch].T @ slopes, rate * (1 - number / len(batches))
        seen += (gradient**2).mean(axis=1)
        weights -= now * gradient / (1 + np.sqrt(seen))[:, None]
        intercept_seen += slopes.sum(axis=0) ** 2
        intercept -= now * slopes.sum(axis=0) / (1 + np.sqrt(intercept_seen))
    return weights, intercept


def test_the_compiled_steps_are_those_of_the_rule(design: Design, codes: np.ndarray) -> None:
    fitted = AdaGradClassifier(epochs=4, rate=0.5, random_state=8).fit(design, codes)
    weights, intercept = by_hand(design, codes, 4, 0.5, 8)
    np.testing.assert_allclose(fitted.coef_.T, weights, atol=2e-5)
    np.testing.assert_allclose(fitted.intercept_, intercept, atol=2e-5)
    assert np.abs(weights).max() > 0.5


def test_products_need_not_be_multiplied_out(design: Design, codes: np.ndarray) -> None:
    apart = AdaGradClassifier().fit(design, codes)
    together = AdaGradClassifier().fit(design.whole(), codes)
    np.testing.assert_allclose(apart.coef_, together.coef_, atol=2e-5)


def test_rows_err_whose_margin_is_not_one_on_every_side() -> None:
    scores = np.array([[1, -1, -2], [3, -1.5, -1], [0.5, -1, -1], [2, -0.5, -3], [-4, 1, -1]], dtype=np.float32)
    codes = np.array([0, 0, 0, 0, 1])
    found = scores.copy()
    assert steps.hinge(found, codes).tolist() == [2, 3]
    assert found.tolist() == [[0, 0, 0], [0, 0, 0], [-0.5, 0, 0], [0, 0.5, 0], [0, 0, 0]]


@pytest.mark.parametrize("rows", [1, 2, 3, 127, 129, 256])
def test_batches_of_any_size_are_cut_in_two(rows: int) -> None:
    design, codes = Design([entries(rows, 20, 0.3, rows)]), np.arange(rows) % 3
    fitted = AdaGradClassifier(epochs=3, rate=0.5, random_state=1).fit(design, codes)
    weights, intercept = by_hand(design, codes, 3, 0.5, 1)
    np.testing.assert_allclose(fitted.coef_.T, weights, atol=2e-5)
    np.testing.assert_allclose(fitted.intercept_, intercept, atol=2e-5)


def test_what_can_only_be_read_is_copied(design: Design, codes: np.ndarray) -> None:
    """As joblib hands on large arrays."""
    whole = design.whole()
    fixed = sp.csr_matrix(whole)
    for array in (fixed.data, fixed.indices, fixed.indptr):
        array.setflags(write=False)
    assert np.array_equal(AdaGradClassifier().fit(fixed, codes).coef_, AdaGradClassifier().fit(whole, codes).coef_)


def test_scores_are_of_as_many_rows_as_are_asked_for() -> None:
    rows = Rows.of(entries(4, 3, 0.5, 1))
    weights = np.ones((3, 2), dtype=np.float32)
    for scores, which in ((5, None), (1, np.arange(2)), (1, np.arange(0))):
        with pytest.raises(ValueError, match=f"scores of {scores} rows"):
            add_product(rows, weights, np.zeros((scores, 2), dtype=np.float32), which)
    nothing = np.zeros((0, 2), dtype=np.float32)
    add_product(rows, weights, nothing, np.arange(0))


def test_integers_of_any_size_and_other_floats_are_taken(design: Design, codes: np.ndarray) -> None:
    whole = design.whole()
    wide = sp.csr_matrix(whole, dtype=np.float64)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    for given in (wide, whole.toarray()):
        np.testing.assert_allclose(
            AdaGradClassifier().fit(given, codes).coef_, AdaGradClassifier().fit(whole, codes).coef_, atol=1e-6
        )
