"""Metrics are those of scikit-learn, for plain labels and on every level of a path; baselines are honest."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, classification_report, f1_score

from classifier.baselines import majority, plain_tfidf
from classifier.holdout import holdout_mask
from classifier.metrics import confusions, evaluate
from tests.products import shop

labels = st.sampled_from(["A", "B", "C", "D"])


def paths(values: list[list[str] | None]) -> pl.Series:
    return pl.Series(values, dtype=pl.List(pl.String))


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_metrics_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, given_labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    metrics = evaluate(paths([[one] for one in truth]), paths([[one] for one in given_labels]), ["label"])
    assert metrics["rows"] == len(pairs)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(truth, given_labels))
    for average in ("macro", "weighted"):
        expected = f1_score(truth, given_labels, average=average, zero_division=0)
        assert metrics[f"{average}_f1"] == pytest.approx(expected)
    report = classification_report(truth, given_labels, output_dict=True, zero_division=0)
    for label, own in metrics["labels"].items():
        assert own["precision"] == pytest.approx(report[label]["precision"])
        assert own["recall"] == pytest.approx(report[label]["recall"])
        assert own["f1"] == pytest.approx(report[label]["f1-score"])
        assert own["support"] == report[label]["support"]


def test_rows_without_a_known_label_are_passed_over() -> None:
    metrics = evaluate(paths([["A"], None, ["B"]]), paths([["A"], ["A"], ["A"]]), ["label"])
    assert metrics["rows"] == 2
    assert metrics["accuracy"] == 0.5


def test_no_rows_have_metrics_of_nothing() -> None:
    metrics = evaluate(paths([]), paths([]), ["a", "b"])
    assert (metrics["rows"], metrics["accuracy"], metrics["macro_f1"], metrics["labels"]) == (0, 0.0, 0.0, {})
    assert metrics["levels"]["b"]["rows"] == 0


def test_a_missing_prediction_is_wrong() -> None:
    metrics = evaluate(paths([["A"], ["B"]]), paths([["A"], None]), ["label"])
    assert metrics["accuracy"] == 0.5
    assert metrics["labels"]["B"]["recall"] == 0.0
    assert set(metrics["labels"]) == {"A", "B"}


def test_a_path_is_compared_level_by_level() -> None:
    truth = paths([["Apparel", "Top", "Shirt"], ["Apparel", "Top", "Tie"], ["Shoes"], ["Apparel", "Bottom", "Jeans"]])
    given_paths = paths([["Apparel", "Top", "Shirt"], ["Apparel", "Top"], ["Shoes"], ["Shoes", "Top", "Jeans"]])
    metrics = evaluate(truth, given_paths, ["main", "sub", "type"])
    assert metrics["accuracy"] == 0.5
    levels = metrics["levels"]
    assert list(levels) == ["main", "sub", "type"]
    assert (levels["main"]["rows"], levels["main"]["accuracy"]) == (4, 0.75)
    assert (levels["sub"]["rows"], levels["sub"]["accuracy"]) == (3, pytest.approx(2 / 3))
    # Jeans, but under other parents: not right.
    assert (levels["type"]["rows"], levels["type"]["accuracy"]) == (3, pytest.approx(1 / 3))
    assert metrics["labels"]["Apparel > Top > Shirt"]["f1"] == 1.0


def test_two_nodes_of_one_name_under_different_parents_are_two_labels() -> None:
    truth = paths([["Men", "Accessories"], ["Women", "Accessories"], ["Women", "Accessories"]])
    given_paths = paths([["Men", "Accessories"], ["Women", "Accessories"], ["Men", "Accessories"]])
    level = evaluate(truth, given_paths, ["main", "sub"])["levels"]["sub"]
    assert {label: (own["recall"], own["support"]) for label, own in level["labels"].items()} == {
        "Men > Accessories": (1.0, 1),
        "Women > Accessories": (0.5, 2),
    }
    assert level["accuracy"] == pytest.approx(2 / 3)


def test_a_plain_label_has_no_levels() -> None:
    assert "levels" not in evaluate(paths([["A"]]), paths([["A"]]), ["label"])


def test_confusions_come_most_frequent_first_with_examples() -> None:
    truth = paths([["A"]] * 5 + [["B"]] * 2 + [None])
    given_labels = paths([["B"]] * 3 + [["A"], ["C"]] + [["A"], None] + [["A"]])
    found = confusions(truth, given_labels, pl.Series(["x", "x", "y", "z", "u", "v", None, "w"]))
    assert found[0] == {"true": "A", "predicted": "B", "count": 3, "share": 0.6, "examples": ["x", "y"]}
    assert {(one["true"], one["predicted"]) for one in found[1:]} == {("A", "C"), ("B", "A"), ("B", None)}
    assert len(confusions(truth, given_labels, pl.Series(["x"] * 8), most=1)) == 1


def test_the_majority_baseline_is_the_share_of_the_commonest_label() -> None:
    spec, frame = shop()
    mask = holdout_mask(frame["text_hash"], 0.2)
    train, held = frame.filter(~mask), frame.filter(mask)
    metrics = majority(train, held, spec)
    commonest = train["known_path"].drop_nulls().list.join(" > ").mode().sort()[0]
    known = held["known_path"].drop_nulls().list.join(" > ")
    assert metrics["accuracy"] == pytest.approx((known == commonest).mean())


def test_the_plain_baseline_lies_between_majority_and_perfection() -> None:
    spec, frame = shop()
    mask = holdout_mask(frame["text_hash"], 0.2)
    train, held = frame.filter(~mask), frame.filter(mask)
    plain = plain_tfidf(train, held, spec)
    assert plain["rows"] == held["known_path"].drop_nulls().len()
    assert majority(train, held, spec)["accuracy"] + 0.3 < plain["accuracy"] < 1.0


def test_baselines_of_nothing_are_no_error() -> None:
    spec, frame = shop()
    wordless = frame.with_columns(pl.lit(None, pl.String).alias("title"), pl.lit(None, pl.String).alias("description"))
    assert plain_tfidf(wordless, wordless, spec) == majority(wordless, wordless, spec)
    assert plain_tfidf(frame, frame.clear(), spec)["rows"] == 0


def test_the_plain_baseline_learns_from_all_of_a_file_that_is_sorted_by_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large catalogue it takes a share of the rows, and not the first ones."""
    from classifier import baselines

    spec, frame = shop()
    held = holdout_mask(frame["text_hash"], 0.2)
    train, holdout = frame.filter(~held).sort(pl.col("known_path").list.first()), frame.filter(held)
    monkeypatch.setattr(baselines, "_MOST_ROWS", train.height // 2)
    mixed = plain_tfidf(train.sample(fraction=1.0, shuffle=True, seed=1), holdout, spec)
    assert plain_tfidf(train, holdout, spec)["accuracy"] == pytest.approx(mixed["accuracy"], abs=0.02)
