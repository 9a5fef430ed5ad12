"""What ingest, train, tune, score and evaluate say of rows and parameters that come to nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.settings import get_settings

TOML = """title = "Shelf"
id = "id"
label.column = "kind"
label.allowed = ["boot", "lamp"]
fields = [{name = "title", kind = "text"}, {name = "room", kind = "keyword"}, {name = "maker", kind = "keyword"}]

[recipe]
name = "linear"
params.words.ngrams = 1
"""
REASON = "label '…' is not one of the 2 allowed labels"
TITLES = {"boot": "sturdy {} boot of leather", "lamp": "bright lamp {} of brass"}


@pytest.fixture
def shelf(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for files of a small catalogue, whose products all lack their maker."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "shelf.toml").write_text(TOML)
    monkeypatch.setenv("AISLE_CATALOGS", str(own))
    get_settings.cache_clear()
    return tmp_path


def written(folder: Path, kinds: list[str]) -> str:
    rows = [
        {"id": str(i), "title": TITLES.get(kind, "{}").format(i), "room": f"room {i % 3}", "kind": kind}
        for i, kind in enumerate(kinds)
    ]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def test_a_file_of_which_every_row_is_rejected_is_explained_by_ingest_and_train(shelf: Path, aisle: Any) -> None:
    wrong = written(shelf, ["bot"] * 8)
    code, out, _ = aisle("ingest", "shelf", wrong)
    assert code == 0
    assert f"warning: all 8 rows were rejected, nothing stored\nrejected:\n  8 rows: {REASON}\n" in out
    statement = out.partition("the first: aisle sql ")[2].splitlines()[0].strip('"')
    rows = json.loads(aisle("sql", statement, "--json")[1])
    assert len(rows) == 8
    # Who schedules it sees it in the exit code.
    assert aisle("ingest", "shelf", wrong, "--exit-code")[0] == 3
    assert aisle("ingest", "shelf", wrong, "--in-order", "--exit-code")[0] == 0  # by a run that has read it before
    code, _, err = aisle("train", "shelf")
    assert code == 1
    assert "catalogue shelf has no product to learn from" in err
    assert f"of the rows ingested last 8 were rejected, most often: {REASON}" in err


def test_evaluating_a_file_of_which_every_row_is_rejected_names_the_reason(shelf: Path, aisle: Any) -> None:
    assert aisle("run", "shelf", written(shelf, ["boot", "lamp"] * 40))[0] == 0
    code, _, err = aisle("evaluate", "shelf", written(shelf, ["bot"] * 8))
    assert code == 1
    assert f"rejected most often: {REASON}" in err
    code, out, _ = aisle("evaluate", "shelf", written(shelf, ["boot"]))
    assert code == 0
    assert "accepted unseen: 0 rows\n" in out


def test_scoring_a_file_of_which_every_row_is_rejected_names_the_reason(shelf: Path, aisle: Any) -> None:
    assert aisle("run", "shelf", written(shelf, ["boot", "lamp"] * 40))[0] == 0
    code, out, _ = aisle("score", "shelf", written(shelf, ["bot"] * 8))
    assert code == 0
    assert f"rejected:\n  8 rows: {REASON}\n" in out
    out = aisle("run", "shelf", written(shelf, ["bot"] * 8))[1]
    assert "warning: all 8 rows were rejected, nothing re-scored" in out
    assert f"rejected:\n  8 rows: {REASON}\n" in out
    assert aisle("run", "shelf", written(shelf, ["bot"] * 8), "--exit-code")[0] == 3
    assert aisle("ingest", "shelf", written(shelf, ["bot"] * 7), "--in-order", "--exit-code")[0] == 3
    assert aisle("ingest", "shelf", written(shelf, ["boot", *["bot"] * 7]), "--exit-code")[0] == 0
    good = Path(written(shelf, ["boot"] * 3)).rename(shelf / "a.jsonl")
    bad = written(shelf, ["bot"] * 3)
    assert aisle("ingest", "shelf", str(good), bad, "--in-order", "--exit-code")[0] == 3


def test_a_parameter_that_changes_nothing_is_told(shelf: Path, aisle: Any) -> None:
    aisle("ingest", "shelf", written(shelf, ["boot", "lamp"] * 40))
    for command in ("train", "tune"):
        code, out, _ = aisle(command, "shelf", "--set", "model.rate=0.1")
        assert code == 0
        assert "note: model.rate changes nothing: the solver is svc, as auto takes for" in out
        assert "With model.solver=adagrad it would be read." in out
        assert "note:" not in aisle(command, "shelf", "--set", "model.rate=0.1", "--set", "model.solver=adagrad")[1]


def test_another_recipe_is_said_to_have_nothing_of_the_catalogues_parameters(shelf: Path, aisle: Any) -> None:
    aisle("ingest", "shelf", written(shelf, ["boot", "lamp"] * 40))
    assert "note:" not in aisle("train", "shelf", "--recipe", "liner")[2]
    _, _, err = aisle("train", "shelf", "--recipe", "linear-fast")
    assert "note: linear-fast has its own parameters; shelf.toml changes those of linear: words.ngrams=1" in err
    assert "note:" not in aisle("train", "shelf")[2]


def test_solvers_are_tried_out_each_with_its_own_parameters(shelf: Path, aisle: Any) -> None:
    space = "[recipe.space]\nmodel.solver = ['svc', 'adagrad']\nmodel.C = [1, 2]\nmodel.rate = [0.1, 0.2, 0.3]\n"
    (shelf / "own" / "shelf.toml").write_text(TOML + space)
    aisle("ingest", "shelf", written(shelf, ["boot", "lamp"] * 40))
    found = json.loads(aisle("tune", "shelf", "--json")[1])
    tried = [trial["tried"] for trial in found["trials"]]
    assert sorted(one["model.solver"] for one in tried) == ["adagrad"] * 3 + ["svc"] * 2
    assert all(("model.C" in one) == (one["model.solver"] == "svc") for one in tried)
    assert aisle(*found["use"]["command"].split()[1:])[0] == 0
    # Held to one value, a parameter is for the trials that read it, and only of these is it copied.
    code, out, _ = aisle("tune", "shelf", "--set", "model.C=0.00001", "--set", "model.bayes=0")
    assert code == 0
    assert "note:" not in out
    best = out.partition("to try it:")[2]
    assert ("model.C" in best) == ("model.solver=svc" in best)
    assert ("model.rate" in best) == ("model.solver=adagrad" in best)


def test_a_field_that_no_product_has_is_no_finding(shelf: Path, aisle: Any) -> None:
    aisle("ingest", "shelf", written(shelf, ["boot", "lamp"] * 400))
    code, out, _ = aisle("train", "shelf", "--study")
    assert code == 0
    assert "Fields: macro F1 is lower without title" in out
    assert "can be measured for room" in out
    assert "maker" not in out


def test_a_prototype_says_what_was_measured_and_how_it_becomes_champion(shelf: Path, aisle: Any) -> None:
    aisle("ingest", "shelf", written(shelf, ["boot", "lamp"] * 40))
    _, out, _ = aisle("train", "shelf", "--recipe", "newsgroups-prototype")
    assert "out of fold  accuracy  macro F1" in out
    assert "aisle models promote shelf v1 makes it champion" in out
    # Until somebody does, there is a model, and no champion.
    code, _, err = aisle("predict", "shelf", "title=red boot")
    assert code == 1
    assert "no model of catalogue shelf is champion yet" in err
    assert "aisle models promote shelf v1" in err
    assert aisle("models", "promote", "shelf", "v1")[0] == 0
    assert "hold-out" not in aisle("models", "list", "shelf")[1]
    _, out, _ = aisle("train", "shelf")
    assert "aisle models promote shelf v2 replaces it" in out
    assert [model["measured"] for model in json.loads(aisle("models", "list", "shelf", "--json")[1])] == [
        "out of fold",
        "hold-out",
    ]
    assert "measured" in aisle("models", "compare", "shelf")[1]


def test_the_check_of_a_file_says_how_each_field_is_read(shelf: Path, aisle: Any) -> None:
    shop = '{name = "shop", kind = "keyword", column = "url", host = true, weight = 0.5}'
    (shelf / "own" / "shelf.toml").write_text(TOML.replace('{name = "room", kind = "keyword"}', shop))
    code, out, _ = aisle("catalogs", "check", str(shelf / "own" / "shelf.toml"))
    assert code == 0
    assert "title (text); shop (keyword, of url, host, weight 0.5); maker (keyword)\n" in out


def test_a_model_that_learnt_a_field_as_it_was_read_then_says_so(shelf: Path, aisle: Any) -> None:
    rows = written(shelf, ["boot", "lamp"] * 40)
    assert "note:" not in aisle("run", "shelf", rows)[1]
    changed = TOML.replace('{name = "room", kind = "keyword"}', '{name = "room", kind = "keyword", host = true}')
    (shelf / "own" / "shelf.toml").write_text(changed)
    _, out, _ = aisle("run", "shelf", rows)
    assert "note: v1 learnt room as the catalogue's file had it read then" in out
    assert "note: v1 learnt room" in aisle("score", "shelf")[1]  # where there is nothing to score, too
    aisle("train", "shelf", "--promote")
    assert "note:" not in aisle("score", "shelf")[1]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("params.nosuch = 1", "there is no parameter 'nosuch'"),
        ("params.model.C = 'abc'", "model.C cannot be 'abc'"),
        ("space.model.C = []", "recipe.space.model.C: needs a list of values to try"),
        ("[recipes.mine]\nname = 'linar'", "there is no recipe 'linar'"),
    ],
)
def test_a_recipe_that_cannot_be_used_fails_the_check_of_its_file(
    shelf: Path, aisle: Any, recipe: str, said: str
) -> None:
    toml = shelf / "own" / "shelf.toml"
    assert aisle("catalogs", "check", str(toml))[0] == 0
    toml.write_text(TOML + recipe + "\n")
    code, _, err = aisle("catalogs", "check", str(toml))
    assert code == 1
    assert said in err
