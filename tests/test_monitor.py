"""Monitoring through the real warehouse: two comparisons kept apart, what they lead to, and nights that have little."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aisle import summary
from catalogs import demo, registry
from core.settings import get_settings
from flows.ingest import ingest
from flows.monitor import monitor
from flows.nightly import nightly
from flows.score import score
from flows.train import train
from tasks.monitor_results import MonitorResult
from tests.conftest import NIGHT_ROWS
from tests.products import records
from warehouse.home import get_home
from warehouse.query import query


def ask(sql: str) -> list[dict[str, Any]]:
    return query(get_home(), sql).as_dicts()


def rule(result: MonitorResult, name: str) -> dict[str, Any]:
    return next(one for one in result.retraining["rules"] if one["rule"] == name)


@pytest.fixture
def day(tmp_path: Path) -> Callable[[int], str]:
    """Makes the shop's file of a day; later days have other products."""
    return lambda number: str(demo.generate(tmp_path / f"day{number}", rows=NIGHT_ROWS, seed=1, day=number))


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Adds tables to the demo's TOML."""

    def add(toml: str) -> None:
        (tmp_path / "demo.toml").write_text(f"{(registry.BUILTIN / 'demo.toml').read_text()}\n{toml}\n")
        monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path))
        get_settings.cache_clear()

    return add


def broken(source: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """The same file with every product changed, under new ids."""
    path = Path(source)
    changed = [change(product | {"id": f"N{product['id']}"}) for product in records(path)]
    out = path.with_name("broken.jsonl")
    out.write_text("\n".join(map(json.dumps, changed)), encoding="utf-8")
    return str(out)


def test_arrivals_are_compared_with_arrivals_and_the_catalogue_with_the_reference(
    opened: Path, day: Callable[[int], str]
) -> None:
    assert ask("SELECT DISTINCT drifted FROM drift WHERE comparison = 'arrivals'") == [{"drifted": None}], "the first"
    second = nightly.fn("demo", [day(2)])
    assert second.drift["arrivals"]["drifted"] is False
    assert second.drift["drifted"] is not None
    scores = ask("SELECT comparison, max(n_reference) AS before, max(n_current) AS now FROM drift GROUP BY ALL")
    assert {row["comparison"] for row in scores} == {"catalogue", "arrivals"}
    assert ask("SELECT count(*) AS n FROM drift WHERE seed IS NULL OR method IS NULL OR threshold IS NULL") == [
        {"n": 0}
    ]
    for name in ("drift", "arrivals"):
        assert Path(second.reports[name]).is_file()
        assert Path(second.reports[name]).name in Path(second.reports["index"]).read_text()


def test_scoring_again_brings_nothing_in(opened: Path, day: Callable[[int], str]) -> None:
    assert nightly.fn("demo", [day(2)]).drift["arrivals"]["drifted"] is False
    train.fn("demo", promote=True)
    assert score.fn("demo").rows["scored"] > 0
    result = monitor.fn("demo")
    assert result.arrivals["drifted"] is None
    assert "0 current rows" in result.arrivals["summary"]


def test_a_drifted_night_is_found_among_its_arrivals(opened: Path, day: Callable[[int], str]) -> None:
    result = nightly.fn("demo", [broken(day(1), lambda product: product | {"brand": None, "title": "zxq vlo"})])
    assert result.drift["arrivals"]["drifted"] is True
    moved = {
        (row["metric"], row["field"])
        for row in ask("SELECT metric, field FROM drift WHERE comparison = 'arrivals' AND drifted")
    }
    assert ("missing_share", "brand") in moved
    assert ("new_word_share", "title") in moved


def test_the_most_distant_products_are_named(opened: Path, day: Callable[[int], str]) -> None:
    odd = broken(day(1), lambda product: product | {"title": f"zxq vlo {product['title']}"})
    result = nightly.fn("demo", [odd])
    machine = json.loads(Path(result.reports["arrivals"]).with_suffix(".json").read_text())
    far = machine["outliers"]
    assert far["beyond"]["current"] > 0
    assert 0 < len(far["farthest"]) <= 10
    distances = [product["distance"] for product in far["farthest"]]
    assert distances == sorted(distances, reverse=True)
    known = {row["product_id"] for row in ask("SELECT product_id FROM products")}
    assert {product["product_id"] for product in far["farthest"]} <= known
    assert sum(cluster["current_share"] for cluster in far["clusters"]) == pytest.approx(1)


def test_drift_in_enough_monitorings_wants_a_new_model_and_says_so_in_sql(
    opened: Path, day: Callable[[int], str], declared: Callable[[str], None]
) -> None:
    declared("[retrain]\ndrift_batches = 2\npause_days = 0")
    drifted = broken(day(40), lambda product: product | {"brand": "Never Seen"})
    first = nightly.fn("demo", [drifted])
    assert rule_of(first, "drift")["met"] is False
    assert rule(monitor.fn("demo"), "drift")["value"] == 1, "the same products again are no further evidence"
    second = nightly.fn("demo", [broken(day(41), lambda product: product | {"brand": "Never Seen"})])
    assert rule_of(second, "drift")["value"] == 2
    assert second.retraining["wanted"] is True
    assert "drift with 2 batches in a row (limit 2)" in second.retraining["summary"]
    rows = ask("SELECT rule, met, wanted FROM retraining WHERE run_id = (SELECT max(run_id) FROM retraining)")
    assert {row["rule"] for row in rows} == {"drift", "review share", "accuracy", "age", "new labels", "pause"}
    assert {row["wanted"] for row in rows} == {True}


def rule_of(result: Any, name: str) -> dict[str, Any]:
    return next(one for one in result.retraining["rules"] if one["rule"] == name)


@pytest.mark.parametrize(
    ("toml", "name"),
    [("max_review_share = 0.01", "review share"), ("max_age_days = 0.00000001", "age")],
)
def test_each_rule_of_the_policy_is_reason_enough(
    opened: Path, day: Callable[[int], str], declared: Callable[[str], None], toml: str, name: str
) -> None:
    declared(f"[retrain]\n{toml}\npause_days = 0")
    ingest.fn("demo", [day(3)])
    result = monitor.fn("demo")
    assert rule(result, name)["met"] is True
    assert result.retraining["wanted"] is True
    assert "next: aisle train demo && aisle score demo;" in summary.watched(result)


def test_labels_that_turn_out_wrong_want_a_new_model(
    opened: Path, day: Callable[[int], str], declared: Callable[[str], None]
) -> None:
    declared("[retrain]\npause_days = 0")
    labels = sorted({row["label"] for row in ask("SELECT DISTINCT label FROM predictions")})
    swapped = dict(zip(labels, [*labels[1:], labels[0]], strict=True))
    column = registry.load("demo").label.source_columns[0]
    renamed = broken(day(1), lambda product: product | {column: swapped.get(product.get(column), product.get(column))})
    result = nightly.fn("demo", [renamed])
    found = rule_of(result, "accuracy")
    assert found["met"] is True
    assert "its confidences say" in found["why"]
    assert result.retraining["wanted"] is True


def test_with_nothing_to_learn_or_within_the_pause_no_model_is_wanted(
    opened: Path, day: Callable[[int], str], declared: Callable[[str], None]
) -> None:
    declared("[retrain]\nmax_review_share = 0.01")
    result = monitor.fn("demo")
    assert rule(result, "review share")["met"] is True
    assert rule(result, "new labels")["met"] is False
    assert rule(result, "pause")["met"] is False
    assert result.retraining["wanted"] is False
    assert "would be wanted" in result.retraining["summary"]
    assert "not now" in result.retraining["summary"]
    assert "next:" not in summary.watched(result)


def test_how_old_the_data_is_stands_in_what_monitoring_gives_back(
    opened: Path, aisle: Any, declared: Callable[[str], None]
) -> None:
    (changed,) = ask("SELECT max(finished_at) AS at FROM runs WHERE stored > 0")
    for days, stale in ((30, False), (0.000001, True)):
        declared(f"[freshness]\nmax_days = {days:f}")
        code, out, err = aisle("monitor", "demo", "--json")
        assert code == 0, err
        found = json.loads(out)["freshness"]
        assert found["stale"] is stale
        assert datetime.fromisoformat(found["last"]) == changed["at"].replace(microsecond=0)
    assert "  stale      products last changed " in aisle("monitor", "demo")[1]


def test_nights_with_little_end_in_a_report_that_says_so(opened: Path, tmp_path: Path) -> None:
    one = tmp_path / "one.jsonl"
    one.write_text(json.dumps({"id": "only", "title": "brass lamp", "description": "to read by"}) + "\n")
    result = nightly.fn("demo", [str(one)])
    assert result.drift["arrivals"]["drifted"] is None
    assert "1 current rows" in result.drift["arrivals"]["summary"]
    nothing = monitor.fn("demo")
    assert nothing.arrivals["drifted"] is None
    assert "no verdict" in Path(nothing.reports["arrivals"]).read_text()


def test_a_model_of_an_earlier_version_is_compared_as_far_as_it_goes(opened: Path, day: Callable[[int], str]) -> None:
    """Its reference may lack columns, and it has no embedding."""
    folder = get_home().models("demo") / "v1"
    content = json.loads((folder / "manifest.json").read_text())
    del content["embedding"]
    (folder / "manifest.json").write_text(json.dumps(content))
    reference = pl.read_parquet(folder / "reference.parquet")
    reference.drop("brand", "known_path").write_parquet(folder / "reference.parquet")
    result = monitor.fn("demo")
    assert result.drifted is not None
    page = Path(result.reports["drift"]).read_text()
    assert "brand is not compared: it is not a column of the reference" in page
    assert "Products far from" not in page


@pytest.mark.slow
def test_the_detectors_are_tested_on_the_catalogues_own_products(
    opened: Path, aisle: Any, day: Callable[[int], str]
) -> None:
    code, out, err = aisle("monitor", "demo", "--self-test", "--trials", "10", "--json")
    assert code == 0, err
    found = json.loads(out)
    kinds = {(trial["comparison"], trial["drawn"]) for trial in found["trials"] if trial["drift"] is None}
    assert {("catalogue", "sample"), ("arrivals", "at random"), ("arrivals", "refresh (label)")} <= kinds
    power = {
        trial["drift"]: trial["share"]
        for trial in found["trials"]
        if trial["drift"] and trial["comparison"] == "catalogue"
    }
    assert power["brand goes empty"] == 1
    assert power["unseen brand"] == 1
    assert Path(found["reports"]["self-test"]).is_file()
    assert all(trial["alarms"] <= 4 for trial in found["trials"] if trial["drift"] is None)
