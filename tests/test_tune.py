"""A search tries out what the recipe declares, on training rows alone, keeps every trial and changes nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aisle.cli import run
from aisle.experiments import tuned, use
from catalogs import demo, registry
from classifier.recipes import resolve
from classifier.space import folds_of
from classifier.trials import Prepared, prepare
from core.errors import NotEnoughLabels, UnknownRecipe
from core.orchestration import listen
from core.settings import get_settings
from flows.ingest import ingest
from flows.nightly import nightly
from flows.train import train
from flows.tune import tune
from tasks import try_recipe
from tests.conftest import PROJECT
from tests.products import shop
from warehouse.home import get_home
from warehouse.query import query

ROWS = 1_500
VIEWS = ("models", "predictions", "predictions_history", "policy", "products")


def ask(sql: str) -> list[dict[str, Any]]:
    return query(get_home(), sql).as_dicts()


@pytest.fixture
def day(tmp_path: Path) -> str:
    return str(demo.generate(tmp_path / "source", rows=ROWS, seed=1, day=0))


def test_every_trial_is_kept_with_parameters_data_metrics_and_time(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    found = tune.fn("demo", recipe="linear-fast")
    rows = ask("SELECT * FROM trials ORDER BY rank")
    assert len(rows) == len(found.trials) == 12
    assert [row["rank"] for row in rows] == list(range(1, 13))
    assert sorted(row["trial"] for row in rows) == list(range(1, 13))
    assert len({row["tried"] for row in rows}) == 12
    for row, trial in zip(rows, found.trials, strict=True):
        assert json.loads(row["params"]) == trial["params"]
        assert json.loads(row["params"]).items() >= json.loads(row["tried"]).items()
        assert row["accuracy"] == pytest.approx(sum(row["by_fold"]) / len(row["by_fold"]))
        assert row["fit_s"] > 0
        assert (row["recipe"], row["run_id"], row["folds"]) == ("linear-fast", found.run_id, 5)
    accuracies = [row["accuracy"] for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert found.best == found.trials[0]


def test_a_search_changes_nothing_but_trials_and_runs(home: Path, day: str) -> None:
    nightly.fn("demo", [day])
    before = {view: ask(f"SELECT * FROM {view}") for view in VIEWS}
    tune.fn("demo", recipe="linear-fast", trials=2)
    assert before == {view: ask(f"SELECT * FROM {view}") for view in VIEWS}
    assert [row["flow"] for row in ask("SELECT flow FROM runs")] == ["nightly", "tune"]


def test_a_search_sees_the_rows_that_training_sees_and_not_the_holdout(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    trained = train.fn("demo", recipe="linear-fast")
    found = tune.fn("demo", recipe="linear-fast", trials=1)
    assert found.rows == trained.rows
    assert trained.holdout_rows > 0
    (model,) = ask("SELECT data_digest FROM models")
    (trial,) = ask("SELECT DISTINCT data_digest, rows FROM trials")
    assert trial == {"data_digest": model["data_digest"], "rows": trained.rows}


def test_a_score_says_how_many_folds_and_rows_it_comes_from(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    found = tune.fn("demo", recipe="linear-fast", overrides={"calibration.most_rows": "300"}, trials=1)
    row = ask("SELECT rows, folds, folds_scored, by_fold FROM trials")[0]
    assert (row["folds"], row["folds_scored"]) == (5, 2)
    assert len(row["by_fold"]) == found.folds_scored == 2
    assert 300 <= row["rows"] == found.rows_scored < found.rows
    assert f"in 5 folds, 2 of them scored: {row['rows']} rows" in tuned(found)
    whole = tune.fn("demo", recipe="linear-fast", trials=1)
    assert len(whole.best["by_fold"]) == whole.folds_scored == whole.folds == 5
    assert "of them scored" not in tuned(whole)


def test_a_prototype_is_searched_with_the_published_folds_unless_others_are_asked_for(home: Path, day: str) -> None:
    spec, fixed = registry.load("demo"), {"calibration.folds": "3"}
    assert folds_of(spec, resolve(spec, "asos-prototype"), {}) == 8
    ingest.fn("demo", [day])
    found = tune.fn("demo", recipe="asos-prototype", overrides=fixed, trials=1)
    assert found.folds == len(found.best["by_fold"]) == 3


def test_what_is_found_is_told_beside_the_recipe_as_it_stands(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    found = tune.fn("demo", recipe="linear-fast", overrides={"model.epochs": "5", "model.C": "0.3"}, trials=1)
    assert (found.tried, found.points, len(found.trials)) == (2, 4, 2)
    assert "(2 of 4 points of its space)" in tuned(found)
    standing, other = sorted(found.trials, key=lambda trial: trial["trial"])
    assert found.standing == standing
    assert standing["tried"] == {key: standing["params"][key] for key in found.space}
    accuracy = f"accuracy {standing['accuracy']:.5f}"
    own = f"words.min_rows 2, words.ngrams 2, {accuracy}"
    assert f"as it stands with what was held: {own}" in tuned(replace(found, best=other))
    assert f"as it stands: {own}" in tuned(replace(found, best=other, fixed={}))
    unchanged = tuned(replace(found, best=standing, fixed={}))
    assert "that is the recipe as it stands\nthere is nothing to change" in unchanged
    assert "to try it" not in unchanged
    # What was held is not in the TOML.
    held = tuned(replace(found, best=standing))
    assert "nothing to change" not in held
    assert "--set model.epochs=5" in held or "--set model.C=0.3" in held


def test_a_trial_that_fails_costs_the_search_no_other(
    home: Path, day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    toml = 'title = "Shelf"\nid = "id"\nlabel.column = "label"\nfields = [{name = "title", kind = "text"}]\n'
    space = '[recipe]\nname = "linear-fast"\n[recipe.space]\nwords.min_rows = [1, 90]\n'
    (own / "shelf.toml").write_text(toml + space)
    rows = [{"id": str(i), "title": f"{'boot' if i % 2 else 'lamp'} {i}", "label": i % 2} for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    monkeypatch.setenv("AISLE_CATALOGS", str(own))
    get_settings.cache_clear()
    ingest.fn("shelf", [str(tmp_path / "rows.jsonl")])
    found = tune.fn("shelf")
    # Beside the space, the recipe as it stands.
    assert sorted(trial["tried"]["words.min_rows"] for trial in found.trials) == [1, 2]
    assert [(one["tried"], one["error"]) for one in found.failed] == [({"words.min_rows": 90}, "NotEnoughLabels")]
    assert "failed: words.min_rows 90: NotEnoughLabels" in tuned(found)
    assert query(get_home(), "SELECT count(*) FROM trials").rows == [(2,)]
    with pytest.raises(NotEnoughLabels):
        tune.fn("shelf", overrides={"words.min_rows": "90"})


def test_a_search_that_breaks_leaves_no_features_behind(home: Path, day: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest.fn("demo", [day])
    monkeypatch.setattr(Prepared, "score", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tune.fn("demo", recipe="linear-fast", trials=2)
    assert try_recipe._prepared.cache_info().currsize == 0


def test_the_same_search_again_finds_the_same(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    first, again = (tune.fn("demo", recipe="linear-fast", trials=4) for _ in range(2))
    timeless = [[{k: v for k, v in trial.items() if k != "fit_s"} for trial in one.trials] for one in (first, again)]
    assert timeless[0] == timeless[1]


def test_trials_that_share_features_score_as_if_alone() -> None:
    spec, frame = shop()
    loose, close = (resolve(spec, "linear-fast", {"model.C": value}) for value in ("0.1", "10"))
    shared = prepare(frame, spec, loose, 3)
    alone = prepare(frame, spec, close, 3)
    assert shared.score(close, seed=0).by_fold == alone.score(close, seed=0).by_fold
    assert shared.score(loose, seed=0).by_fold != shared.score(close, seed=0).by_fold


def test_the_space_of_the_catalogues_file_is_tried(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.mkdir()
    toml = 'title = "Shelf"\nid = "id"\nlabel.column = "label"\nfields = [{name = "title", kind = "text"}]\n'
    mine = '[recipes.mine]\nname = "linear-fast"\nparams.words.most = 900\n'
    space = f"{mine}[recipes.mine.space]\nmodel.C = [0.5, 2]\n"
    (own / "shelf.toml").write_text(toml + space)
    rows = [
        {"id": str(i), "title": f"{'boot' if i % 2 else 'lamp'} number {i % 9}", "label": i % 2} for i in range(200)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    monkeypatch.setenv("AISLE_CATALOGS", str(own))
    get_settings.cache_clear()
    ingest.fn("shelf", [str(tmp_path / "rows.jsonl")])
    found = tune.fn("shelf", recipe="mine")
    assert sorted(trial["tried"]["model.C"] for trial in found.trials) == [0.5, 1, 2]
    # What is to be copied is TOML that a catalogue takes, and makes the winner its recipe.
    how = use(found)
    copied = tomllib.loads(how["toml"])["recipes"]["mine"]
    assert copied == {
        "name": "linear-fast",
        "params": {"words": {"most": 900}, "model": {"C": found.best["tried"]["model.C"]}},
    }
    assert run(how["command"].split()[1:]) == 0

    (own / "shelf.toml").write_text(toml + space.replace("model.C", "model.c"))
    with pytest.raises(UnknownRecipe, match=r"recipes\.mine\.space\.model\.c"):
        tune.fn("shelf", recipe="mine")


def test_without_labels_a_search_says_what_to_do(home: Path) -> None:
    with pytest.raises(NotEnoughLabels, match="aisle ingest demo"):
        tune.fn("demo")


def test_progress_is_told_trial_by_trial(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    told: list[tuple[str, int, int]] = []
    stop = listen(lambda *what: told.append(what))
    try:
        tune.fn("demo", recipe="linear-fast", trials=3)
    finally:
        stop()
    assert [entry for entry in told if entry[0] == "try recipe"] == [("try recipe", i, 4) for i in (1, 2, 3, 4)]


def test_the_command_prints_trials_the_winner_and_how_to_use_it(
    home: Path, day: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest.fn("demo", [day])
    words = ["tune", "demo", "--recipe", "linear-fast", "--set", "words.min_rows=2", "--set", "words.ngrams=1"]
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert "3 trials of linear-fast" in out
    assert "best: model.C " in out
    assert "--set words.min_rows=2 --set words.ngrams=1 --set model.C=" in out
    assert "[recipe.params]" in out
    assert err == "", "no progress where nobody watches"
    assert run([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["use"]["command"].startswith("aisle train demo --recipe linear-fast --set words.min_rows=2")
    assert run(["tune", "demo", "--set", "model.c=1"]) == 1
    assert "did you mean model.C" in capsys.readouterr().err


@pytest.mark.slow
def test_as_a_prefect_flow_run_a_search_finds_the_same(home: Path, tmp_path: Path, day: str) -> None:
    ingest.fn("demo", [day])
    here = tune.fn("demo", recipe="linear-fast", trials=2)
    command = ["tune", "demo", "--recipe", "linear-fast", "--trials", "2", "--json", "--prefect"]
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-m", "aisle", *command],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    there = json.loads(done.stdout)
    assert [t["accuracy"] for t in there["trials"]] == [t["accuracy"] for t in here.trials]
