"""Confidence means the share that is right, and a threshold is one whose precision is proven."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from classifier.calibration import Curve, calibration_error, fit_calibration
from classifier.model import fit
from classifier.recipes import resolve
from classifier.thresholds import fit_thresholds, lower_bound, proof, rows_needed
from tests.products import plain, shop
from tests.test_classifier import made, trained


def test_confidence_means_the_share_that_is_right() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 20_000)
    scores = random.normal(size=(20_000, 5)).astype(np.float32)
    scores[np.arange(20_000), truth] += random.exponential(2.0, 20_000).astype(np.float32)
    calibration = fit_calibration(scores[:10_000], truth[:10_000], plain(5))
    ranked = calibration.rank(scores[10_000:])
    right = ranked.label == truth[10_000:]
    assert calibration_error(ranked.confidence, right) < 0.02
    assert np.all(np.diff(ranked.confidence[np.argsort(ranked.confidence)]) >= 0)


def test_a_higher_score_is_never_less_confident() -> None:
    calibration = trained().calibration
    margins = np.linspace(0, 8, 200, dtype=np.float32)
    scores = np.stack([margins, np.zeros_like(margins)], axis=1)
    assert (np.diff(calibration.rank(scores).confidence) >= 0).all()


def test_the_rows_that_a_target_needs_are_known() -> None:
    assert rows_needed(0.98, 0.95) == 149
    assert rows_needed(0.90, 0.95) == 29
    assert lower_bound(149, 149, 0.95) >= 0.98 > lower_bound(148, 148, 0.95)
    assert lower_bound(0, 10, 0.95) == 0.0
    assert lower_bound(95, 100, 0.95) == pytest.approx(0.8977, abs=1e-4)  # as R's binom.test has it


def test_a_threshold_is_the_lowest_that_is_proven() -> None:
    confidence = np.linspace(0.0, 1.0, 1_000)
    right = confidence > 0.3
    table = fit_thresholds(["A", "B"], np.zeros(1_000, np.int64), confidence, right, 0.98, 0.95)
    a, b = table.iter_rows(named=True)
    assert 0.25 <= a["threshold"] <= 0.36
    assert a["precision"] >= 0.98
    assert a["support"] == 1_000
    accepted = confidence >= a["threshold"]
    assert lower_bound(int(right[accepted].sum()), int(accepted.sum()), 0.95) >= 0.98
    assert b["threshold"] is None
    assert "never predicted" in b["reason"]


def test_a_label_that_cannot_reach_the_target_says_what_it_lacks() -> None:
    few = fit_thresholds(["A"], np.zeros(40, np.int64), np.full(40, 0.99), np.ones(40, bool), 0.98, 0.95)
    assert few["threshold"][0] is None
    assert few["reason"][0].startswith("40 rows predicted out of fold; 0.98 at 95% needs 149")
    wrong = np.arange(1_000) % 2 == 0
    poor = fit_thresholds(["A"], np.zeros(1_000, np.int64), np.full(1_000, 0.5), wrong, 0.98, 0.95)
    assert poor["threshold"][0] is None
    assert "500 of 1,000 rows right" in poor["reason"][0]


def test_equal_confidences_are_accepted_or_refused_together() -> None:
    confidence = np.repeat([0.9, 0.5], [300, 700])
    right = np.concatenate([np.ones(300, bool), np.arange(700) % 2 == 0])
    table = fit_thresholds(["A"], np.zeros(1_000, np.int64), confidence, right, 0.98, 0.95)
    assert table["threshold"][0] == 0.9
    assert table["coverage"][0] == 0.3


def test_thresholds_hold_on_fresh_rows() -> None:
    """Of 100 draws of a label whose confidence is right, about 5 miss the target on fresh rows, as promised."""
    random = np.random.default_rng(0)
    missed = 0
    for _ in range(100):
        confidence = random.uniform(0.8, 1.0, 2_000)
        right = random.uniform(size=2_000) < confidence
        threshold = fit_thresholds(["A"], np.zeros(2_000, np.int64), confidence, right, 0.95, 0.95)["threshold"][0]
        if threshold is not None:
            missed += (threshold + 1.0) / 2 < 0.95  # the expected precision of everything above it
    assert missed <= 10


def test_copies_of_a_text_prove_no_more_than_one() -> None:
    spec, frame = shop()
    recipe = resolve(spec)
    once = fit(frame, spec, recipe, seed=0)
    thrice = fit(pl.concat([frame, frame, frame]), spec, recipe, seed=0)
    assert once.evidence is not None
    assert thrice.evidence is not None
    assert thrice.evidence.height == 3 * once.evidence.height
    assert thrice.evidence["weight"].sum() == pytest.approx(frame.drop_nulls("known_path")["text_hash"].n_unique())
    assert thrice.thresholds["support"].sum() == pytest.approx(once.thresholds["support"].sum(), abs=12)


def test_a_threshold_of_copies_is_that_of_single_rows_with_a_share_each() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1.0, 900)
    right = random.uniform(size=900) < confidence
    single = fit_thresholds(["A"], np.zeros(900, np.int64), confidence, right, 0.8, 0.95)
    texts = pl.Series([f"{row:032x}" for row in range(900)])
    copies = fit_thresholds(
        ["A"], np.zeros(3_600, np.int64), np.repeat(confidence, 4), np.repeat(right, 4), 0.8, 0.95,
        proof(pl.concat([texts] * 4).sort()),
    )  # fmt: skip
    assert copies.drop("reason").equals(single.drop("reason"))
    naive = fit_thresholds(["A"], np.zeros(3_600, np.int64), np.repeat(confidence, 4), np.repeat(right, 4), 0.8, 0.95)
    assert naive["threshold"][0] < single["threshold"][0]


def test_copies_let_no_more_labels_pass_than_promised() -> None:
    """Sixty texts, four times each, and a precision of .97: they cannot prove .98, which 240 rows seem to."""
    random = np.random.default_rng(1)
    texts = pl.Series([f"{row:032x}" for row in range(60)] * 4)
    passed, naive = 0, 0
    for _ in range(100):
        right = np.tile(random.uniform(size=60) < 0.97, 4)
        asked = ["A"], np.zeros(240, np.int64), np.full(240, 0.97), right, 0.98, 0.95
        passed += fit_thresholds(*asked, proof(texts))["threshold"][0] is not None
        naive += fit_thresholds(*asked)["threshold"][0] is not None
    assert passed == 0
    assert naive > 5


def test_the_surest_step_keeps_its_mean() -> None:
    """A step that is drawn from its middle would take confidence from its lower half and give it to none."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 4_000)
    scores = np.zeros((4_000, 2), np.float32)
    scores[np.arange(4_000), truth] = random.uniform(0.5, 10, 4_000)
    wrong = random.random(4_000) < 0.01
    scores[wrong] = scores[wrong][:, ::-1]
    calibration = fit_calibration(scores, truth, plain(2))
    ranked = calibration.rank(scores)
    right = ranked.label == truth
    assert abs(ranked.confidence.mean() - right.mean()) < 0.002
    (curve,) = calibration.curves
    assert isinstance(curve, Curve)
    assert (np.diff(curve.values) >= 0).all()
    assert curve.values[-1] < 1


def test_labels_that_a_fold_did_not_teach_leave_the_confidence_of_the_others_alone() -> None:
    words = {label: [f"{label.lower()}{n}" for n in range(30)] for label in ("Toys", "Home", "Garden")}
    random = np.random.default_rng(2)
    labels = [list(words)[n % 3] for n in range(600)]
    titles = [" ".join(random.choice(words[label], 6)) for label in labels]
    odd = [f"odd{n} thing{n}" for n in range(30)]
    spec, _ = shop()
    recipe = resolve(spec, "newsgroups-prototype")
    alone = fit(made(titles, labels), spec, recipe, seed=0)
    beside = fit(made([*titles, *odd], [*labels, *(f"Odd {n}" for n in range(30))]), spec, recipe, seed=0)
    fresh = made([" ".join(random.choice(words[label], 6)) for label in labels], labels)
    assert alone.predict(fresh)["confidence"].mean() > 0.95
    answers = beside.predict(fresh)
    assert (answers["label"] == pl.Series(labels)).mean() > 0.99
    assert answers["confidence"].mean() > 0.85
    assert beside.held is not None
    assert (~beside.held.learnt).sum() == 30
