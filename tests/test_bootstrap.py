"""What the intervals beside the metrics promise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from classifier.bootstrap import METRICS, differences, intervals, wilson
from classifier.metrics import evaluate

PATH = pl.List(pl.String)
# How often rows of each right label (row) get each label (column): a world whose metrics are known.
WORLD = np.array([[0.36, 0.03, 0.01], [0.05, 0.28, 0.02], [0.02, 0.03, 0.20]])


def paths(labels) -> pl.Series:
    return pl.Series([None if label is None else [str(label)] for label in labels], dtype=PATH)


def drawn(rows: int, rng: np.random.Generator) -> tuple[pl.Series, pl.Series]:
    cells = rng.choice(WORLD.size, rows, p=WORLD.ravel())
    return paths(cells // 3), paths(cells % 3)


def known() -> dict[str, float]:
    support, given, right = WORLD.sum(axis=1), WORLD.sum(axis=0), np.diag(WORLD)
    f1 = 2 * right / (support + given)
    return {"accuracy": right.sum(), "macro_f1": f1.mean(), "weighted_f1": (f1 * support).sum()}


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    rng, truth = np.random.default_rng(3), known()
    repeats = 200
    hits = dict.fromkeys(METRICS, 0)
    for repeat in range(repeats):
        found = intervals(*drawn(250, rng), ["label"], seed=repeat)
        for name in METRICS:
            hits[name] += found[name][0] <= truth[name] <= found[name][1]
    assert all(0.90 <= count / repeats <= 0.99 for count in hits.values()), hits


def test_drawing_counts_is_drawing_rows():
    truth, predicted = drawn(400, np.random.default_rng(5))
    rng = np.random.default_rng(6)
    by_rows = []
    for _ in range(400):
        rows = rng.integers(0, 400, 400)
        found = evaluate(truth.gather(rows), predicted.gather(rows), ["label"])
        by_rows.append([found[name] for name in METRICS])
    expected = np.percentile(by_rows, (2.5, 97.5), axis=0)
    found = intervals(truth, predicted, ["label"], seed=0)
    assert np.allclose(np.array([found[name] for name in METRICS]).T, expected, atol=0.012)  # Wilson's is as near


def test_the_same_seed_gives_the_same_interval_whatever_the_order_of_the_rows():
    truth, predicted = drawn(300, np.random.default_rng(1))
    order = np.random.default_rng(2).permutation(300)
    once = intervals(truth, predicted, ["label"], seed=7)
    assert once == intervals(truth.gather(order), predicted.gather(order), ["label"], seed=7)
    assert once != intervals(truth, predicted, ["label"], seed=8)


def test_no_answer_counts_as_wrong_and_no_label_not_at_all():
    found = intervals(paths(["a"] * 50 + [None] * 50), paths([None] * 50 + ["a"] * 50), ["label"], seed=0)
    assert found["accuracy"] == wilson(0.0, 50)
    assert intervals(paths([None]), paths(["a"]), ["label"], seed=0) == {}


def test_label_paths_have_intervals_at_each_level_and_over_all_nodes():
    rng = np.random.default_rng(4)
    truth = pl.Series([[f"d{n % 3}", f"d{n % 3}t{n % 6}"] for n in range(300)], dtype=PATH)
    # Three in ten go wrong, two of them below the right department.
    predicted = pl.Series(
        [path if chance > 0.3 else [path[0] if chance > 0.1 else "d9", "other"]
         for path, chance in zip(truth.to_list(), rng.random(300), strict=True)], dtype=PATH,
    )  # fmt: skip
    metrics = evaluate(truth, predicted, ["department", "type"])
    found = intervals(truth, predicted, ["department", "type"], seed=0)
    for level in ("department", "type"):
        low, high = found["levels"][level]["accuracy"]
        assert low < metrics["levels"][level]["accuracy"] < high
    assert found["levels"]["department"]["accuracy"][0] > found["levels"]["type"]["accuracy"][1]
    for name, (low, high) in found["hierarchical"].items():
        assert low < metrics["hierarchical"][name] < high


def test_intervals_are_of_the_labels_that_metrics_tell_apart():
    """The last level of a path is the whole path, where the names of its nodes repeat too."""
    rng = np.random.default_rng(5)
    truth, predicted = (
        pl.Series([[f"d{one}", f"t{two}"] for one, two in rng.integers(0, 3, (400, 2))], dtype=PATH) for _ in range(2)
    )
    predicted = predicted.zip_with(pl.Series(rng.random(400) < 0.3), truth)
    metrics = evaluate(truth, predicted, ["department", "type"])
    found = intervals(truth, predicted, ["department", "type"], seed=0)
    for name in METRICS:
        assert metrics["levels"]["type"][name] == metrics[name]
        assert found["levels"]["type"][name] == found[name]


def test_accuracy_has_one_interval_wherever_it_is_shown():
    """That of a share: beside accepted products, slices and bins too. Without an error it is not certain either."""
    truth, predicted = drawn(250, np.random.default_rng(8))
    found = intervals(truth, predicted, ["label"], seed=0)
    assert found["accuracy"] == wilson(evaluate(truth, predicted, ["label"])["accuracy"], 250)
    never_wrong = intervals(truth, truth, ["label"], seed=0)
    assert never_wrong["accuracy"] == wilson(1.0, 250)
    assert never_wrong["accuracy"][0] < 1


def test_a_real_difference_is_told_from_luck_on_the_same_rows():
    rng = np.random.default_rng(9)
    truth = [str(number) for number in rng.integers(0, 4, 600)]
    # Both err on the same tenth of the rows; the worse one on another twentieth.
    same, worse = rng.random(600) < 0.1, rng.random(600) < 0.05
    one = [label if not bad else "9" for label, bad in zip(truth, same, strict=True)]
    other = [label if not bad else "9" for label, bad in zip(truth, same | worse, strict=True)]
    found = differences(paths(truth), paths(one), paths(other), seed=0)["accuracy"]
    assert found["difference"] == pytest.approx((same | worse).mean() - same.mean())
    assert 0 < found["interval"][0] < found["difference"] < found["interval"][1]
    # Unpaired, the two intervals overlap: pairing is what tells them apart.
    assert (
        intervals(paths(one), paths(truth), ["label"], 0)["accuracy"][0]
        < intervals(paths(other), paths(truth), ["label"], 0)["accuracy"][1]
    )
    none = differences(paths(truth), paths(one), paths(one), seed=0)["macro_f1"]
    assert (none["difference"], none["interval"]) == (0.0, (0.0, 0.0))


def test_an_interval_of_a_share_holds_at_the_ends():
    low, high = wilson(1.0, 50)
    assert (round(low, 3), high) == (0.929, 1.0)  # 0.9286 by Wilson's formula
    assert wilson(0.5, 0) is None
