"""A saved model is a folder that people can read, gives the same answers, and is refused when it is damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from classifier import artifact
from classifier.artifact import load, manifest, save
from classifier.model import fit
from classifier.recipes import SubwordParams, WordParams, resolve
from classifier.subwords import gram_keys
from classifier.text_field import TextField
from core.errors import ArtifactDamaged, ModelError
from tests.products import shop
from tests.test_classifier import RECIPES, made, trained

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "1"
    save(trained(), folder, {"metrics": {"rows": 10, "accuracy": 0.91234}}, shop()[1].head(50))
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def rewrite(folder: Path, **changes: object) -> None:
    """A manifest with other content, as someone who means it would write it."""
    content = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_model_read_back_gives_the_same_answers_to_the_bit(recipe: str, tmp_path: Path) -> None:
    model = trained(recipe)
    digest = save(model, tmp_path / "model", {})
    again = load(tmp_path / "model")
    frame = shop()[1]
    assert again.predict(frame).equals(model.predict(frame))
    assert again.predict(frame[:3]).equals(model.predict(frame[:3]))
    assert again.thresholds.equals(model.thresholds)
    assert (again.labels, again.levels, again.recipe, again.rows) == (
        model.labels,
        model.levels,
        model.recipe,
        model.rows,
    )
    assert again.spec == model.spec
    assert again.digest == digest == model.digest


def test_the_same_training_gives_the_same_digest(saved: Path, tmp_path: Path) -> None:
    spec, frame = shop()
    model = fit(frame, spec, resolve(spec), seed=0)
    digest = save(model, tmp_path / "1", {"metrics": {"rows": 10, "accuracy": 0.91234}}, frame.head(50))
    assert digest == load(saved).digest


def test_there_is_no_pickle_in_it(saved: Path) -> None:
    suffixes = {path.suffix for path in saved.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".md", ".npy", ".parquet", ".skops"}
    for path in saved.rglob("*.npy"):
        np.load(path, allow_pickle=False)
    with zipfile.ZipFile(saved / "model.skops") as inside:
        assert {Path(name).suffix for name in inside.namelist()} == {".json", ".npy"}


def test_the_manifest_says_what_the_model_is(saved: Path) -> None:
    content = manifest(saved)
    assert content["catalog"]["name"] == "demo"
    assert content["recipe"]["name"] == "linear"
    assert content["labels"] == [[label] for label in trained().labels]
    assert content["facts"]["metrics"]["accuracy"] == 0.91234
    assert {"python", "numpy", "polars", "scikit-learn", "scipy", "skops"} <= set(content["libraries"])
    files = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert set(content["files"]) == files - {"manifest.json"}


def test_the_card_speaks_to_people(saved: Path) -> None:
    card = (saved / "card.md").read_text()
    assert "accuracy 0.9123 (10 rows)" in card
    assert "Never reads | shelf" in card
    for label in trained().labels:
        assert f"| {label} |" in card


def test_the_sample_of_training_rows_comes_back(saved: Path, tmp_path: Path) -> None:
    sample = artifact.reference(saved)
    assert sample is not None
    assert sample.equals(shop()[1].head(50))
    save(trained(), tmp_path / "without", {})
    assert artifact.reference(tmp_path / "without") is None


def test_the_calibrator_is_the_curve_that_predictions_follow(saved: Path) -> None:
    (calibrator,), (curve,) = artifact.calibrators(saved), trained().calibration.curves
    odds = np.linspace(-3, 12, 500)
    assert calibrator.predict(odds) == pytest.approx(np.interp(odds, curve.knots, curve.values))


def test_loading_starts_no_scikit_learn(saved: Path) -> None:
    """scikit-learn takes seconds to import; answers do not need it."""
    script = (
        "import sys; from pathlib import Path; from classifier.artifact import load;"
        f"model = load(Path({str(saved)!r})); model.predict_rows([{{'title': 'steel kettle'}}]);"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('sklearn', 'skops', 'pandas')]"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True)


@pytest.mark.parametrize("name", ["intercept.npy", "thresholds.parquet", "fields/title/word_weights.npy", "card.md"])
def test_a_changed_file_is_found(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ArtifactDamaged, match="sha256") as error:
        load(copy)
    assert error.value.where is not None
    assert error.value.where.endswith(name)
    assert error.value.hint


@pytest.mark.parametrize("name", ["calibration.parquet", "fields/title/words.parquet", "model.skops", "manifest.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ArtifactDamaged) as error:
        load(copy)
    assert name in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 99, "files": {}}'])
def test_a_manifest_that_is_none_is_refused(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(ArtifactDamaged, match=r"manifest|schema"):
        load(copy)


def test_a_manifest_that_does_not_fit_its_files_is_refused(copy: Path) -> None:
    rewrite(copy, labels=[["Only"]])
    with pytest.raises(ArtifactDamaged, match="do not fit"):
        load(copy)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("intercept", lambda own: own[:-1]),
        ("fields/title/word_weights", lambda own: own[:-1]),
        ("fields/title/gram2_weights", lambda own: own[:, :-1]),
        ("fields/title/subword_weights", lambda own: own.astype(np.float64)),
    ],
)
def test_weights_that_do_not_fit_their_tokens_are_refused(copy: Path, name: str, change: Callable) -> None:
    """Also where the manifest says that they belong there: the compiled loops would read beyond them."""
    path = copy / f"{name}.npy"
    np.save(path, change(np.load(path)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rewrite(copy, files=manifest(copy)["files"] | {f"{name}.npy": digest})
    with pytest.raises(ArtifactDamaged, match="do not fit"):
        load(copy)


def test_a_file_outside_the_folder_is_refused(copy: Path) -> None:
    (copy.parent / "other").write_text("x")
    rewrite(copy, files=manifest(copy)["files"] | {"../other": "0"})
    with pytest.raises(ArtifactDamaged, match="outside"):
        load(copy)


def test_a_type_that_is_not_expected_is_refused_before_it_is_built(copy: Path) -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    skops.io.dump(FunctionTransformer(func=np.sqrt), copy / "model.skops")
    digest = hashlib.sha256((copy / "model.skops").read_bytes()).hexdigest()
    rewrite(copy, files=manifest(copy)["files"] | {"model.skops": digest})
    with pytest.raises(ArtifactDamaged, match=r"not allowed: .*FunctionTransformer"):
        load(copy)
    with pytest.raises(ArtifactDamaged, match="not allowed"):
        artifact.calibrators(copy)


def test_nothing_is_overwritten(saved: Path) -> None:
    with pytest.raises(ModelError, match="holds something already"):
        save(trained(), saved, {})
    load(saved)


def test_a_save_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save(trained(), tmp_path / "model", {"odd": object()})
    assert list(tmp_path.iterdir()) == []


def test_words_and_vectors_never_change() -> None:
    """Golden: an upgrade of Polars, NumPy or SciPy must not move a model's features unseen."""
    field = TextField("title", 1.0, WordParams(min_rows=1), SubwordParams(shortest=0, longest=0))
    texts = ["Édition: GRÖSSE-40 kettle_set", "2nd Kettle kettle, ½ 12 l", "शर्ट", "12 l édition 12"]
    blocks = field.fit(pl.Series(texts))
    assert field.vocabulary.words.to_list() == ["12", "2nd", "40", "grösse", "kettle", "kettle_set", "édition", "शर्ट"]
    pairs = "12 édition, 2nd kettle, 40 kettle_set, grösse 40, kettle 12, kettle kettle, édition 12, édition grösse"
    assert field.vocabulary.names(2).every().to_list() == pairs.split(", ")
    words, grams = (block[[0, 1, 3]].toarray() for block in blocks)
    assert words.ravel() == pytest.approx(
        [
            *(0, 0, 0.388614, 0.388614, 0, 0.388614, 0.306388, 0),
            *(0.288111, 0.365433, 0, 0, 0.618731, 0, 0, 0),
            *(0.636131, 0, 0, 0, 0, 0, 0.375709, 0),
        ],
        abs=1e-6,
    )
    assert grams.ravel() == pytest.approx(
        [
            *(0, 0, 0.388614, 0.388614, 0, 0, 0, 0.388614),
            *(0, 0.365433, 0, 0, 0.365433, 0.365433, 0, 0),
            *(0.47654, 0, 0, 0, 0, 0, 0.47654, 0),
        ],
        abs=1e-6,
    )


def test_a_prototype_of_texts_of_one_word_can_be_read_back(tmp_path: Path) -> None:
    spec, _ = shop()
    frame = made(["kite", "ball", "lamp", "sofa"] * 10, ["Toys", "Toys", "Home", "Home"] * 10)
    model = fit(frame, spec, resolve(spec, "newsgroups-prototype", {"prototype.ngrams": "2"}), seed=0)
    save(model, tmp_path / "model", {})
    assert load(tmp_path / "model").predict(frame).equals(model.predict(frame))


def test_data_pasted_into_a_text_costs_no_more_than_a_long_word() -> None:
    words = pl.Series(["shorter", "x" * 100, "x" * 2_000_000])
    keys, starts = gram_keys(words, 3, 5)
    assert np.diff(starts).tolist()[1:] == [297, 297]
    assert (keys[starts[1] : starts[2]] == keys[starts[2] :]).all()
