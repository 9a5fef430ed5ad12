"""Labels that are paths: a confidence for every level, accepted down to the deepest level that is proven."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.normalise import normalise_records
from classifier.calibration import calibration_error, fit_calibration
from classifier.metrics import evaluate
from classifier.model import fit
from classifier.recipes import resolve
from classifier.thresholds import thresholds_of_tree
from classifier.tree import Tree
from core.settings import get_settings
from tests import stored
from warehouse.home import get_home
from warehouse.policy import accepted_depth, decide, published_policy, set_policy
from warehouse.query import query
from warehouse.registry import published_champion
from warehouse.runs import open_run

CATALOG = "amazon_india"
TOP = {"kitchen": "pan pot kettle ladle", "garden": "spade hose rake seed", "music": "drum flute violin string"}
"""Words of each main category, told apart with ease."""
SUBS = ("basic", "finest", "travel")
"""Sub categories of each, told apart by a word that is often missing."""


def rows(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Listings whose main category is plain to see, and whose sub category often is not."""
    random = Random(seed)
    for number in range(count):
        main = random.choice(list(TOP))
        sub = random.choice(SUBS)
        words = [*random.choices(TOP[main].split(), k=4), random.choice(["red", "blue", "green", f"no{number}"])]
        if random.random() < 0.8:
            words.append(sub)
        random.shuffle(words)
        yield {
            "asin": f"B{seed}{number:06d}",
            "name": " ".join(words),
            "main_category": main,
            "sub_category": f"{sub} {main}",
            "discount_price": "",
            "actual_price": "₹100",
            "ratings": "",
            "no_of_ratings": "",
        }


def written(path: Path, count: int, seed: int) -> Path:
    found = list(rows(count, seed))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, found[0])
        writer.writeheader()
        writer.writerows(found)
    return path


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which such listings were run."""
    from aisle.cli import run

    folder = tmp_path_factory.mktemp("market")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AISLE_HOME", str(folder / "var"))
        get_settings.cache_clear()
        assert run(["run", CATALOG, str(written(folder / "listings.csv", 4_000, 0))]) == 0
        yield folder
    get_settings.cache_clear()


def asked(sql: str) -> list[dict[str, Any]]:
    return query(get_home(), sql).as_dicts()


def test_a_path_stops_where_confidence_ends(market: Path) -> None:
    found = asked(
        "SELECT depth, decision, count(*) AS n, avg((label = known_label)::INT) AS whole, "
        "avg(starts_with(known_label, label)::INT) AS so_far, max(len(label_path)) AS longest "
        "FROM predictions GROUP BY ALL ORDER BY depth"
    )
    by_depth = {row["depth"]: row for row in found}
    assert set(by_depth) == {1, 2}
    assert by_depth[1]["longest"] == 1
    assert by_depth[1]["so_far"] > 0.98
    assert by_depth[2]["whole"] > 0.98
    assert {row["decision"] for row in found} == {"accepted"}


def test_label_confidence_and_path_belong_together(market: Path) -> None:
    for row in asked("SELECT * FROM predictions LIMIT 500"):
        assert row["label"] == " > ".join(row["label_path"])
        assert row["label_path"] == row["predicted_path"][: len(row["label_path"])]
        assert len(row["confidence_path"]) == len(row["predicted_path"])
        assert row["confidence"] == row["confidence_path"][len(row["label_path"]) - 1]
        assert sorted(row["confidence_path"], reverse=True) == row["confidence_path"]


def test_every_predicted_path_is_one_that_was_taught(market: Path) -> None:
    taught = {
        (row["main"], row["sub"]) for row in asked("SELECT known_path[1] AS main, known_path[2] AS sub FROM products")
    }
    said = {tuple(row["predicted_path"]) for row in asked("SELECT DISTINCT predicted_path FROM predictions")}
    assert said <= taught


def test_sql_and_python_accept_the_same_levels(market: Path) -> None:
    """`policy.decide`, which the API and the commands use, is the view's rule."""
    answers = pl.DataFrame(
        asked(
            "SELECT product_id, array_to_string(predicted_path, ' > ') AS label, predicted_path AS label_path, "
            "confidence_path[len(confidence_path)] AS confidence, confidence_path FROM predictions ORDER BY ALL"
        )
    )
    shown = decide(answers, published_policy(get_home(), CATALOG), published_champion(get_home(), CATALOG).version)
    view = pl.DataFrame(asked("SELECT product_id, label, depth, confidence, decision FROM predictions")).sort(
        "product_id"
    )
    mine = (
        answers.select("product_id").hstack(shown.select("label", "depth", "confidence", "decision")).sort("product_id")
    )
    assert mine.equals(view)


def test_conservation_counts_a_path_that_stops_early_as_accepted(market: Path) -> None:
    (row,) = asked("SELECT * FROM conservation")
    assert row["balanced"]
    (accepted,) = asked("SELECT count(*) AS n FROM predictions WHERE decision = 'accepted'")
    assert row["accepted"] == accepted["n"]


def test_the_policy_has_a_threshold_for_every_node(market: Path) -> None:
    found = asked("SELECT level, label, threshold, path_thresholds FROM policy ORDER BY level, label")
    assert {row["level"] for row in found} == {1, 2}
    assert [row["label"] for row in found if row["level"] == 1] == sorted(TOP)
    for row in found:
        assert len(row["path_thresholds"]) == row["level"]
        assert row["path_thresholds"][-1] == row["threshold"]


def test_what_reaches_the_target_is_counted_level_by_level(market: Path, aisle: Any) -> None:
    """Three main and nine sub categories are nine labels, and not twelve."""
    count = "SELECT count(threshold) AS n FROM policy WHERE level = {}"
    main, sub = (asked(count.format(level))[0]["n"] for level in (1, 2))
    said = f"{main} of 3 nodes of level 1, {sub} of 9 nodes of level 2"
    assert f"precision 0.98 aimed at, reached by {said};" in aisle("policy", CATALOG)[1]
    assert f"{said}." in (published_champion(get_home(), CATALOG).folder / "card.md").read_text()


def test_predict_gives_the_best_labels_and_those_over_their_threshold(market: Path, aisle: Any) -> None:
    code, out, _ = aisle("predict", CATALOG, "name=pan pot kettle finest", "--top", "4", "--json")
    assert code == 0
    answer = json.loads(out)
    assert len(answer["labels"]) == 4
    assert answer["labels"][0]["label"] == " > ".join(answer["predicted_path"])
    assert answer["labels"][1]["label"] == answer["runner_up"]
    confidences = [one["confidence"] for one in answer["labels"]]
    assert confidences == sorted(confidences, reverse=True)
    limits = {row["label"]: row["threshold"] for row in asked("SELECT label, threshold FROM policy")}
    best = answer["labels"][0]
    assert (best["label"] in answer["labels_above"]) == (best["confidence"] >= (limits[best["label"]] or 2.0))
    _, out, _ = aisle("predict", CATALOG, "name=pan pot kettle", "--top", "4", "--json")
    answer = json.loads(out)
    assert answer["depth"] == 1, "which finest, basic or travel it is, nothing says"
    assert answer["labels_above"] == ["kitchen"]


def test_predict_says_in_words_how_far_a_path_is_accepted_and_how_sure_each_level_is(market: Path, aisle: Any) -> None:
    asking = ("predict", CATALOG, "name=pan pot kettle")
    answer = json.loads(aisle(*asking, "--json")[1])
    code, out, _ = aisle(*asking)
    assert code == 0
    whole, main, sub = out.splitlines()[2:]
    assert whole.startswith("kitchen ")
    assert "accepted, 1 of 2 levels" in whole
    shown = [f"{confidence:.6g}" for confidence in answer["confidence_path"]]
    assert main.split() == ["main_category:", "kitchen", shown[0], "accepted"]
    assert sub.split() == ["sub_category:", *answer["predicted_path"][1].split(), shown[1]]


def test_explain_says_in_words_how_far_a_path_is_accepted_and_how_sure_each_level_is(market: Path, aisle: Any) -> None:
    (row,) = asked("SELECT * FROM predictions WHERE depth = 1 ORDER BY product_id LIMIT 1")
    code, out, _ = aisle("explain", CATALOG, row["product_id"])
    assert code == 0
    said = {tuple(line.split()) for line in out.splitlines()}
    assert ("predicted", *" > ".join(row["predicted_path"]).split()) in said
    assert ("accepted", "1", "of", "2", "levels") in said
    names = ("main_category", "sub_category")
    for name, node, confidence in zip(names, row["predicted_path"], row["confidence_path"], strict=True):
        assert (name, *node.split(), f"{confidence:.6g}") in said


def test_the_kill_switch_sends_everything_to_review_at_once(market: Path, aisle: Any) -> None:
    scored = asked("SELECT count(*) AS n FROM predictions_history")
    before = asked("SELECT count(*) AS n FROM predictions WHERE decision = 'accepted'")
    code, out, _ = aisle("policy", CATALOG, "--review-all")
    assert code == 0
    assert "everything goes to review; 0 of 4,000 stored predictions are accepted" in out
    assert asked("SELECT DISTINCT decision, depth FROM predictions") == [{"decision": "review", "depth": 0}]
    assert asked("SELECT balanced, accepted FROM conservation") == [{"balanced": True, "accepted": 0}]
    why = asked("SELECT label, reason FROM policy ORDER BY label")
    assert all(row["reason"].startswith("everything goes to review; by threshold: ") for row in why)
    assert published_policy(get_home(), CATALOG).select("label", "reason").sort("label").to_dicts() == why
    assert why[0]["reason"] in aisle("policy", CATALOG, "--json")[1]
    assert aisle("policy", CATALOG, "--by-threshold")[0] == 0
    assert asked("SELECT count(*) AS n FROM predictions WHERE decision = 'accepted'") == before
    assert asked("SELECT count(*) AS n FROM predictions_history") == scored
    assert not asked("SELECT label FROM policy WHERE reason LIKE 'everything%'")


def test_another_target_acts_without_training_or_scoring(market: Path, aisle: Any) -> None:
    """A lower target lets whole paths pass that .98 stopped at their first level."""
    depth = "SELECT avg(depth) AS mean FROM predictions"
    models = asked("SELECT count(*) AS n FROM models")
    (before,) = asked(depth)
    code, out, _ = aisle("policy", CATALOG, "--target", "0.6", "--json")
    assert code == 0
    assert {row["precision_target"] for row in json.loads(out)["policy"]} == {0.6}
    (lower,) = asked(depth)
    assert lower["mean"] > before["mean"]
    assert aisle("policy", CATALOG, "--target", "0.98")[0] == 0
    assert asked(depth) == [before]
    assert asked("SELECT count(*) AS n FROM models") == models


def test_a_label_that_has_thresholds_at_two_levels_gives_a_product_one_prediction(shelves: Path) -> None:
    """A label with " > " in its own name reads like a path; which one was predicted, its length says."""
    stored.night([("1", "long title", None), ("2", "short", None)])
    sql = "SELECT product_id, label, decision, depth FROM predictions WHERE catalog = 'shelf' ORDER BY product_id"
    before = asked(sql)
    assert [row["decision"] for row in before] == ["accepted", "accepted"]
    with open_run("shelf", "policy", []) as run:
        levels = pl.DataFrame(
            {"label": ["Books", "Toys"] * 2, "level": [1, 1, 2, 2], "threshold": [0.8, 0.8, None, 0.99]},
            schema_overrides={"threshold": pl.Float64},
        )
        set_policy(run, stored.spec().accept, "v1", levels)
    assert asked(sql) == before


# --- levels apart from any warehouse ---------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), max_size=4), st.lists(st.none() | st.floats(0, 1), max_size=4))
@settings(max_examples=200, deadline=None)
def test_the_deepest_level_whose_threshold_holds_decides(confidences: list[float], limits: list[float | None]) -> None:
    pairs = enumerate(zip(confidences, limits, strict=False), 1)
    holds = [level for level, (own, least) in pairs if least is not None and own >= least]
    assert accepted_depth(confidences, limits) == max(holds, default=0)


PATHS = [["a"], ["a", "x"], ["a", "y"], ["b", "x"], ["c"]]


def drawn(seed: int, count: int = 6_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, len(PATHS), count)
    scores = random.normal(size=(count, len(PATHS))).astype(np.float32)
    scores[np.arange(count), truth] += random.exponential(2.0, count).astype(np.float32)
    return scores, truth


def test_confidence_of_each_level_means_the_share_that_is_right_down_to_it() -> None:
    tree = Tree(PATHS)
    calibration = fit_calibration(*drawn(0), tree)
    scores, truth = drawn(1)
    ranked = calibration.rank(scores)
    for level, nodes in enumerate(tree.nodes):
        reached = tree.lengths[ranked.label] > level
        right = nodes[ranked.label[reached]] == nodes[truth[reached]]
        assert calibration_error(ranked.path_confidence[reached, level], right) < 0.03
    assert (np.isnan(ranked.path_confidence[:, 1]) == (tree.lengths[ranked.label] == 1)).all()
    both = ranked.path_confidence[tree.lengths[ranked.label] == 2]
    assert (both[:, 0] >= both[:, 1]).all()


def test_thresholds_hold_at_every_level_on_fresh_rows() -> None:
    tree = Tree(PATHS)
    calibration = fit_calibration(*drawn(2, 20_000), tree)
    scores, truth = drawn(2, 20_000)
    ranked = calibration.rank(scores)
    table = thresholds_of_tree(tree, ranked.label, ranked.path_confidence, truth, 0.9, 0.95)
    assert table["label"].to_list() == ["a", "b", "c", "a > x", "a > y", "b > x"]
    fresh, right_labels = drawn(3, 20_000)
    found = calibration.rank(fresh)
    limits = dict(table.select("label", "path_thresholds").iter_rows())
    right = total = 0
    for label, confidences, known in zip(found.label, found.path_confidence, right_labels, strict=True):
        path = PATHS[label]
        depth = accepted_depth(confidences[: len(path)], limits[" > ".join(path)])
        total += depth > 0
        right += depth > 0 and path[:depth] == PATHS[known][:depth]
    assert total > 2_000
    assert right / total > 0.89


def test_a_tree_with_one_child_is_no_obstacle() -> None:
    """One main category above everything is always right; its only child is as sure as itself."""
    tree = Tree([["shop", "a"], ["shop", "b"]])
    scores, truth = drawn(4)
    calibration = fit_calibration(scores[:, :2], truth % 2, tree)
    ranked = calibration.rank(scores[:, :2])
    assert (ranked.path_confidence[:, 0] == 1.0).all()
    assert (ranked.path_confidence[:, 1] == ranked.confidence).all()


@pytest.mark.parametrize("others", [0, 1])
def test_a_model_is_trained_where_nearly_everything_is_under_one_node(others: int) -> None:
    spec = stored.spec()
    paths = [["Shop", label] for label in ("Books", "Toys") for _ in range(40)] + [["Other", "Odd"]] * others
    titles = [f"{path[-1]} number {row % 20}" for row, path in enumerate(paths)]
    frame = normalise_records([{"id": str(row), "title": title} for row, title in enumerate(titles)], spec)
    model = fit(frame.with_columns(known_path=pl.Series(paths)), spec, resolve(spec), seed=0)
    assert model.predict(frame)["label_path"].to_list()[:80] == paths[:80]


def test_what_is_accepted_at_an_upper_level_is_proven_without_what_is_accepted_further_down() -> None:
    """Shelves told well are accepted; the departments of the others are not as sure as those of all products."""
    tree = Tree([[department, f"shelf {number}"] for department in ("a", "b") for number in range(3)])
    seen, fresh = (_shelves(np.random.default_rng(seed)) for seed in (0, 1))
    table = thresholds_of_tree(tree, *seen, 0.98, 0.95)
    limits = dict(table.select("label", "path_thresholds").iter_rows())
    label, confidences, truth = fresh
    depths = np.array([
        accepted_depth(own, limits[" > ".join(tree.paths[code])]) for code, own in zip(label, confidences, strict=True)
    ])  # fmt: skip
    right = np.array([
        tree.paths[code][:depth] == tree.paths[known][:depth]
        for code, known, depth in zip(label, truth, depths, strict=True)
    ])  # fmt: skip
    assert (depths == 2).sum() > 10_000
    assert (depths == 1).sum() > 10_000
    assert min(right[depths == depth].mean() for depth in (1, 2)) >= 0.98


def _shelves(random: np.random.Generator, rows: int = 60_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clear products, whose shelf is wrong in 1.3 of 100, and unclear ones, whose department is in 3.5 of 100."""
    truth = random.integers(0, 6, rows)
    clear = random.random(rows) < 0.6
    other_department = (truth + 3) % 6
    other_shelf = truth // 3 * 3 + (truth + 1) % 3
    luck = random.random(rows)
    label = np.where(clear, np.where(luck < 0.013, other_shelf, truth), truth)
    label = np.where(~clear & (luck < 0.035), other_department, np.where(~clear & (luck < 0.5), other_shelf, label))
    shelf = np.where(clear, 0.987, 0.5) + random.uniform(-0.001, 0.001, rows)
    department = np.where(clear, 0.999, 0.965) + random.uniform(-0.001, 0.001, rows)
    return label, np.column_stack([department, shelf]), truth


def test_a_name_under_two_parents_is_two_labels() -> None:
    tree = Tree([["a", "x"], ["b", "x"]])
    scores, truth = drawn(5)
    calibration = fit_calibration(scores[:, :2], truth % 2, tree)
    ranked = calibration.rank(scores[:, :2])
    table = thresholds_of_tree(tree, ranked.label, ranked.path_confidence, truth % 2, 0.9, 0.95)
    assert table["label"].to_list() == ["a", "b", "a > x", "b > x"]


def test_what_two_paths_share_counts_in_hierarchical_metrics() -> None:
    truth = pl.Series([["a", "x"], ["a", "x"], ["b"], ["c", "z"]], dtype=pl.List(pl.String))
    given_paths = pl.Series([["a", "x"], ["a", "y"], ["b", "q"], None], dtype=pl.List(pl.String))
    found = evaluate(truth, given_paths, ["one", "two"])["hierarchical"]
    assert found["precision"] == pytest.approx(4 / 6)
    assert found["recall"] == pytest.approx(4 / 7)
    assert found["f1"] == pytest.approx(2 * 4 / 13)


def test_the_best_labels_begin_with_label_and_runner_up() -> None:
    tree = Tree(PATHS)
    calibration = fit_calibration(*drawn(6), tree)
    scores, _ = drawn(7, 500)
    ranked = calibration.rank(scores)
    order, confidence = calibration.top(scores, 5)
    assert (order[:, 0] == ranked.label).all()
    assert (order[:, 1] == ranked.runner_up).all()
    np.testing.assert_allclose(confidence[:, 0], ranked.confidence)
    np.testing.assert_allclose(confidence[:, 1], ranked.runner_up_confidence)
    assert (np.diff(confidence[:, 1:], axis=1) <= 1e-12).all()
    assert (confidence.sum(axis=1) <= 1 + 1e-9).all()
