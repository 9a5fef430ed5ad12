"""scikit-learn's own checks of estimators, where they apply to text; the others ask for tables of numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks as checks

from classifier.adagrad import AdaGradClassifier
from classifier.text_vectoriser import TextVectoriser

# Every check of scikit-learn's that needs no table of numbers.
WITHOUT_DATA = [
    checks.check_estimator_cloneable,
    checks.check_estimator_repr,
    checks.check_estimator_tags_renamed,
    checks.check_valid_tag_types,
    checks.check_no_attributes_set_in_init,
    checks.check_get_params_invariance,
    checks.check_set_params,
    checks.check_parameters_default_constructible,
    checks.check_mixin_order,
]
TEXTS = ["red rubber boots", "blue boots", "a teapot"]


@pytest.mark.parametrize("check", WITHOUT_DATA, ids=lambda check: check.__name__)
def test_the_vectoriser_passes_the_checks_of_estimators(check: Callable[[str, object], None]) -> None:
    check("TextVectoriser", TextVectoriser())


def test_the_vectoriser_is_not_fitted_before_it_is_fitted() -> None:
    with pytest.raises(NotFittedError):
        TextVectoriser().transform(TEXTS)
    with pytest.raises(NotFittedError):
        TextVectoriser().get_feature_names_out()


def test_transforming_changes_nothing_and_fitting_twice_learns_the_same() -> None:
    vectoriser = TextVectoriser(ngram_range=(1, 2)).fit(TEXTS)
    before = vectoriser.vocabulary_
    first = vectoriser.transform(TEXTS)
    assert vectoriser.vocabulary_ == before
    again = vectoriser.fit(TEXTS).transform(TEXTS)
    assert (first != again).nnz == 0
    alone = vectoriser.transform(TEXTS[1:2])
    assert np.array_equal(alone.toarray(), first[1].toarray())


def test_the_solver_passes_every_check_of_classifiers_that_takes_sparse_float32() -> None:
    """AdaGrad takes what a vectoriser gives: the checks that feed it lists, NaN or strange shapes do not apply."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for check in WITHOUT_DATA:
            check("AdaGradClassifier", AdaGradClassifier())
    with pytest.raises(NotFittedError):
        AdaGradClassifier().decision_function(np.zeros((1, 1)))
