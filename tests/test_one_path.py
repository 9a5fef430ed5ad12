"""One path from text to label: a row gets the same answer in a bulk run, at the command line, alone and in a frame."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aisle.cli import run
from catalogs import registry
from catalogs.normalise import normalise_records
from classifier import artifact
from classifier.model import FEW_ROWS
from core.settings import get_settings
from warehouse.home import get_home
from warehouse.query import query
from warehouse.registry import published_champion

anything = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)
odd = st.sampled_from(
    ["", " ", "é", "e\u0301", "مرحبا", "👩‍🚀", "\u200f", "a" * 20_000, "x\ty\u2028z", "\u0007", "NULL", "nan"]
)
texts = st.one_of(st.none(), anything, odd)
prices = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32), anything)
rows = st.fixed_dictionaries(
    {"title": texts, "description": texts, "brand": texts, "also_buy": st.lists(anything, max_size=3), "price": prices}
)
ANSWER = ("label", "confidence", "runner_up")


@pytest.fixture(scope="module")
def command(shop: Path) -> Iterator[Any]:  # the home of the demo shop, whose champion answers
    assert shop.is_file()
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@given(products=st.lists(rows, min_size=1, max_size=12))
@settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
def test_any_row_is_answered_alike_in_bulk_at_the_command_line_and_alone(
    command: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, capsys: Any, products: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    known = {"title": "Red rubber boots", "price": 19.9}
    many = [known] * (FEW_ROWS + 1)  # so few more are answered without frames
    named = [{"id": f"{folder.name}-{n}", **product} for n, product in enumerate([*many, *products])]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(product) + "\n" for product in named))

    assert run(["score", "demo", str(path)]) == 0
    found = query(get_home(), f"SELECT * FROM predictions WHERE starts_with(product_id, '{folder.name}-')")
    stored = {row["product_id"]: row for row in found.as_dicts()}

    command.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes()), encoding="utf-8"))
    capsys.readouterr()
    run(["predict", "demo", "--json"])
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    spec = registry.load("demo")
    model = artifact.load(published_champion(get_home(), "demo").folder)
    frame = normalise_records(named, spec)
    bulk = model.predict(frame).to_dicts()
    single = [model.predict(frame[row]).to_dicts()[0] for row in range(frame.height)]

    assert len(said) == len(named)
    assert named[0]["id"] in stored
    assert [{name: row[name] for name in ANSWER} for row in bulk] == [
        {name: row[name] for name in ANSWER} for row in single
    ]
    for product, line, alone in zip(named, said, single, strict=True):
        row = stored.get(product["id"])
        if row is None:  # a rule of the catalogue rejected it: no answer is stored
            continue
        assert {name: row[name] for name in ANSWER} == {name: line[name] for name in ANSWER}
        assert {name: row[name] for name in ANSWER} == {name: alone[name] for name in ANSWER}
    get_settings.cache_clear()


def test_a_letter_that_python_does_not_know_is_the_same_alone_and_in_bulk(shop: Path) -> None:
    """U+A7CB came with Unicode 16: Polars lowers it, Python 3.11 does not."""
    assert shop.is_file()
    model = artifact.load(published_champion(get_home(), "demo").folder)
    odd = {"title": "\ua7cb boots", "description": "\u1c89 red", "brand": "\ua7cb", "price": 3}
    one = normalise_records([{"id": "1", **odd}], model.spec)
    many = normalise_records([{"id": str(n), **odd} for n in range(FEW_ROWS + 1)], model.spec)
    assert set(many["text_hash"]) == set(one["text_hash"])
    assert model.predict(many)["confidence"][0] == model.predict(one)["confidence"][0]


def test_the_command_reads_products_as_the_model_learnt_them_whatever_the_toml_says_by_now(
    shop: Path, tmp_path: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shop.is_file()
    asked = ("predict", "demo", "title=Rubber &#98;oots", "--json")
    before = json.loads(aisle(*asked)[1])
    toml = (registry.BUILTIN / "demo.toml").read_text()
    changed = toml.replace("html = true\n", "")
    assert changed != toml
    (tmp_path / "demo.toml").write_text(changed)
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path))
    get_settings.cache_clear()
    assert json.loads(aisle(*asked)[1]) == before
    get_settings.cache_clear()
