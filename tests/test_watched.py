"""What monitoring looks at: products that the champion cannot have learnt, its own answers, and nights that add up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalogs import demo, registry
from catalogs.policies import HoldoutSpec
from classifier.holdout import holdout_mask
from core.settings import get_settings
from flows.ingest import ingest
from flows.monitor import monitor
from flows.nightly import nightly
from flows.score import score
from flows.train import train
from tests.commands import ROWS
from tests.products import records
from warehouse import watched
from warehouse.home import get_home
from warehouse.publish import publish
from warehouse.query import query
from warehouse.registry import last_training, need_champion
from warehouse.runs import Run, open_run

MOST = 100_000
"""More rows than there are: nothing is left out by sampling."""


@pytest.fixture
def opened(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a shop whose first night is over; gives the night's file."""
    shutil.copytree(get_home().root, tmp_path / "var")
    monkeypatch.setenv("AISLE_HOME", str(tmp_path / "var"))
    get_settings.cache_clear()
    publish(get_home())
    yield shop
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[list[dict[str, Any]]], str]:
    """Makes a file of products."""

    def write(products: list[dict[str, Any]]) -> str:
        path = tmp_path / f"products-{len(list(tmp_path.glob('products-*')))}.jsonl"
        path.write_text("".join(f"{json.dumps(product)}\n" for product in products))
        return str(path)

    return write


@contextmanager
def looking() -> Iterator[Run]:
    """A run that reads what was recorded, and writes nothing."""
    with open_run("demo", "monitor") as run:
        yield run


def stored(run: Run) -> pl.DataFrame:
    """The current products: product_id, text_hash, known_path, and whether their text is held out."""
    rows = run.scan("state").select("product_id", "text_hash", "known_path").collect()
    return rows.with_columns(holdout_mask(rows["text_hash"], registry.load("demo").holdout.share))


def test_a_text_that_was_taught_is_not_new_under_another_id(
    opened: Path, written: Callable[[list[dict[str, Any]]], str]
) -> None:
    """A shop that renumbers its products brings nothing in that the model has not learnt."""
    spec = registry.load("demo")
    ingest.fn("demo", [written([product | {"id": f"again-{product['id']}"} for product in records(opened)])])
    score.fn("demo")
    with looking() as run:
        model = need_champion(run)
        again = stored(run).filter(pl.col("product_id").str.starts_with("again-"))
        known = pl.col("known_path").is_not_null()
        taught = again.filter(known & ~pl.col("holdout"))
        assert taught.height > ROWS / 3
        arrived = watched.arrivals(run, spec, model, MOST, 0).now
        assert not set(arrived["product_id"]) & set(taught["product_id"])
        assert set(again.filter("holdout")["product_id"]) <= set(arrived["product_id"])
        assert watched.labelled_accuracy(run, spec, model).rows == stored(run).filter(known & pl.col("holdout")).height
        trained = last_training(run)
        assert trained is not None
        assert watched.new_labels(run, spec, trained) == 0


def test_an_answer_counts_where_it_is_the_models_own(
    opened: Path, tmp_path: Path, written: Callable[[list[dict[str, Any]]], str]
) -> None:
    spec = registry.load("demo")
    ingest.fn("demo", [written(records(demo.generate(tmp_path, 100, day=90)))])
    score.fn("demo")
    train.fn("demo", promote=True)
    with looking() as run:
        model = need_champion(run)
        assert model.version == "v2"
        assert watched.labelled_accuracy(run, spec, model) == watched.LabelledAccuracy(0, 0, None)
        for rows in (
            watched.current_rows(run, spec, MOST, 0, model),
            watched.arrivals(run, spec, model, MOST, 0).now,
        ):
            assert rows.height
            for name in ("label", "label_path", "confidence", "confidence_path"):
                assert rows[name].null_count() == rows.height
    score.fn("demo")
    with looking() as run:
        found = watched.labelled_accuracy(run, spec, model)
        assert found.rows == stored(run).filter(pl.col("known_path").is_not_null() & pl.col("holdout")).height > 0
        assert watched.current_rows(run, spec, MOST, 0, model)["label"].null_count() == 0


def test_small_nights_are_looked_at_together(
    opened: Path, tmp_path: Path, written: Callable[[list[dict[str, Any]]], str]
) -> None:
    least = registry.load("demo").drift.min_rows
    new = records(demo.generate(tmp_path, ROWS, day=90))
    first = nightly.fn("demo", [written(new[: least // 2])])
    assert first.drift["arrivals"]["drifted"] is None
    assert f"current rows, and a verdict needs {least} on each side" in first.drift["arrivals"]["summary"]
    second = nightly.fn("demo", [written(new[least // 2 : least * 5 // 4])])
    assert second.drift["arrivals"]["drifted"] is not None
    assert monitor.fn("demo").arrivals["summary"].startswith("No verdict: 0 current rows")


@pytest.mark.parametrize("declared", [0.05, 0.4])
def test_what_is_held_out_by_the_model_and_by_the_catalogue_counts(opened: Path, declared: float) -> None:
    """The model was taught with 0.2: of a larger share it knows some, of a smaller one the next learns some."""
    spec = registry.load("demo").model_copy(update={"holdout": HoldoutSpec(share=declared)})
    with looking() as run:
        model = need_champion(run)
        texts = run.scan("state").select("product_id", "text_hash").collect()
        held_out = texts.filter(holdout_mask(texts["text_hash"], min(declared, 0.2)))
        found = watched.current_rows(run, spec, MOST, 0, model)
        assert set(found["product_id"]) == set(held_out["product_id"])


def test_everything_in_review_stays_so_whatever_model_answers(opened: Path, aisle: Any) -> None:
    asked = "SELECT DISTINCT decision FROM predictions WHERE decided_by = 'model'"
    assert ("accepted",) in query(get_home(), asked).rows
    assert aisle("policy", "demo", "--review-all")[0] == 0
    train.fn("demo", promote=True)
    score.fn("demo")
    assert query(get_home(), "SELECT DISTINCT model_version FROM predictions").rows == [("v2",)]
    assert query(get_home(), asked).rows == [("review",)]
    assert aisle("policy", "demo", "--by-threshold")[0] == 0
    assert ("accepted",) in query(get_home(), asked).rows
