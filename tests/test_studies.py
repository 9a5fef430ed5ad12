"""What the learning curve, the fields left out and the list of wrong labels promise, on the generated shop."""

from __future__ import annotations

import itertools
import time
from functools import cache

import numpy as np
import polars as pl
import pytest

from catalogs.product import KNOWN_PATH
from classifier.holdout import holdout_mask, nested_mask
from classifier.label_issues import LABEL_ISSUES, label_issues
from classifier.metrics import evaluate
from classifier.model import fit
from classifier.recipes import resolve
from classifier.studies import SHARES, Ground, field_ablation, learning_curve
from classifier.tree import Tree
from tests.products import shop


@cache
def ground() -> Ground:
    spec, frame = shop()
    labelled = frame.filter(pl.col(KNOWN_PATH).is_not_null())
    held = holdout_mask(labelled["text_hash"], 0.3)
    train, holdout = labelled.filter(~held), labelled.filter(held)
    recipe = resolve(spec)
    answers = fit(train, spec, recipe, seed=0).predict(holdout, reasons=False)
    return Ground(train, holdout, answers["label_path"], spec, recipe, 0)


def test_parts_of_the_training_rows_lie_within_each_other_and_keep_equal_texts_together():
    hashes = ground().train["text_hash"]
    parts = [set(hashes.filter(nested_mask(hashes, share))) for share in (*SHARES, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(parts))
    assert parts[-1] == set(hashes)
    assert [round(len(part) / len(parts[-1]), 1) for part in parts[:2]] == [0.2, 0.5]


def test_the_learning_curve_ends_with_the_model_itself_and_rises():
    study = learning_curve(ground())
    assert [row["share"] for row in study.rows] == [*SHARES, 1.0]
    assert study.rows[-1]["accuracy"] == evaluate(
        ground().holdout[KNOWN_PATH], ground().predicted, ground().spec.levels
    )["accuracy"]  # fmt: skip
    assert study.rows[-1]["rows"] == ground().train.height
    assert study.rows[0]["macro_f1"] < study.rows[-1]["macro_f1"]
    low, high = study.rows[0]["gain"]["macro_f1"]["interval"]
    assert 0 < low < study.rows[-1]["macro_f1"] - study.rows[0]["macro_f1"] < high


def test_a_fit_without_calibration_gives_the_labels_of_the_model():
    all_rows = Ground(ground().train, ground().holdout, ground().predicted, ground().spec, ground().recipe, 0)
    from classifier import studies

    answers = studies._answers(all_rows.train, all_rows.holdout, all_rows.spec, all_rows)
    assert answers.to_list() == ground().predicted.to_list()


def test_the_field_that_says_most_is_missed_most():
    study = field_ablation(ground())
    lost = {row["field"]: row["gain"]["macro_f1"] for row in study.rows}
    assert list(lost) == ground().spec.field_names
    assert max(lost, key=lambda name: lost[name]["difference"]) == "title"
    assert lost["title"]["interval"][0] > 0.05
    assert study.skipped == []


def test_a_field_that_copies_the_label_would_be_noticed():
    train, holdout = (
        frame.with_columns(pl.col(KNOWN_PATH).list.join("").alias("brand"))
        for frame in (ground().train, ground().holdout)
    )
    spec, recipe = ground().spec, ground().recipe
    answers = fit(train, spec, recipe, seed=0).predict(holdout, reasons=False)["label_path"]
    lost = {
        row["field"]: row["gain"]["accuracy"]
        for row in field_ablation(Ground(train, holdout, answers, spec, recipe, 0)).rows
    }
    assert max(lost, key=lambda name: lost[name]["difference"]) == "brand"


def test_no_fit_is_started_when_the_time_is_used_up():
    curve, ablation = (study(ground(), until=time.monotonic() - 1) for study in (learning_curve, field_ablation))
    assert [row["share"] for row in curve.rows] == [1.0]
    assert ablation.rows == []
    assert [len(study.skipped) for study in (curve, ablation)] == [len(SHARES), len(ground().spec.fields)]
    assert "the time for studies was used up" in curve.skipped[0]


def test_a_catalogue_of_one_field_has_nothing_to_leave_out():
    spec = ground().spec.model_copy(update={"fields": ground().spec.fields[:1]})
    study = field_ablation(Ground(ground().train, ground().holdout, ground().predicted, spec, ground().recipe, 0))
    assert (study.rows, study.skipped) == ([], ["the model reads nothing but title"])


def test_rows_that_teach_nothing_are_told_and_cost_nothing_else():
    few = ground().train.head(3)
    one_label = few.with_columns(pl.lit(["Home"]).alias(KNOWN_PATH))
    study = learning_curve(Ground(one_label, ground().holdout, ground().predicted, ground().spec, ground().recipe, 0))
    assert [row["share"] for row in study.rows] == [1.0]
    assert study.skipped


@cache
def flipped() -> tuple[pl.DataFrame, set[str]]:
    """The training products with one label in twenty exchanged, and the ids of those."""
    train = ground().train
    rng = np.random.default_rng(1)
    labels = sorted({path[0] for path in train[KNOWN_PATH].to_list()})
    paths, chosen = train[KNOWN_PATH].to_list(), rng.choice(train.height, train.height // 20, replace=False)
    for row in chosen:
        others = [label for label in labels if label != paths[row][0]]
        paths[row] = [others[rng.integers(len(others))]]
    return train.with_columns(pl.Series(KNOWN_PATH, paths)), set(train["product_id"].gather(chosen))


def test_exchanged_labels_are_listed_and_those_of_the_worst_are_mostly_wrong():
    frame, wrong = flipped()
    found = label_issues(frame, fit(frame, ground().spec, ground().recipe, seed=0))
    listed = found.table["product_id"].to_list()
    assert len(wrong & set(listed)) / len(wrong) > 0.6
    assert len(listed) < frame.height * 0.12
    # The shop has wrong labels of its own: beside those exchanged, nothing says which.
    assert len(wrong & set(listed[:40])) > 20
    assert found.table["score"].is_sorted()
    assert dict(found.table.schema) == LABEL_ISSUES
    assert (found.table["given"] != found.table["suggested"]).all()
    assert found.rows == frame.height
    assert (found.table["suggested_probability"] >= 0.5).all()


def test_a_label_of_a_few_products_is_not_judged():
    frame, _ = flipped()
    rare = pl.int_range(pl.len()) < 5
    frame = frame.with_columns(pl.when(rare).then(pl.lit(["Rare"])).otherwise(KNOWN_PATH).alias(KNOWN_PATH))
    found = label_issues(frame, fit(frame, ground().spec, ground().recipe, seed=0))
    assert found.rows == frame.height - 5
    assert "Rare" not in found.table["given"].to_list()


def test_a_list_of_wrong_labels_changes_no_product():
    frame, _ = flipped()
    before = frame.clone()
    label_issues(frame, fit(frame, ground().spec, ground().recipe, seed=0))
    assert frame.equals(before)


def test_labels_of_too_many_leaves_are_judged_a_level_higher(monkeypatch: pytest.MonkeyPatch):
    from classifier import label_issues as module

    tree = Tree([[f"d{n // 10}", f"t{n}"] for n in range(40)])
    assert module._judged_level(tree, 1_000) == 1
    monkeypatch.setattr(module, "_MOST_PROBABILITIES", 10_000)
    assert module._judged_level(tree, 1_000) == 0
    scores = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    probabilities = module._probabilities(scores, 1.0, tree.nodes[0])
    assert probabilities.shape == (50, 4)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
