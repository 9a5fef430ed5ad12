"""A recipe is found by name and changed by parameter; a prototype gives its published figures to the digit."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from catalogs import registry
from catalogs.spec import RecipeSpec
from classifier.metrics import evaluate
from classifier.model import fit
from classifier.prototypes import PROTOTYPES
from classifier.recipes import NAMES, resolve
from core.errors import UnknownRecipe
from tests.products import products

DEMO = registry.load("demo")


def test_linear_is_the_default() -> None:
    assert resolve(DEMO).name == resolve(DEMO).family == "linear"
    assert resolve(DEMO, "linear").params.subwords.longest == 5
    assert resolve(DEMO, "linear-fast").params.subwords.longest == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_found(name: str) -> None:
    recipe = resolve(DEMO, name)
    assert recipe.name == name
    assert recipe.is_prototype == name.endswith("-prototype")


def test_parameters_come_from_the_default_then_the_catalogue_then_the_caller() -> None:
    spec = DEMO.model_copy(
        update={
            "recipe": RecipeSpec(name="linear", params={"model": {"C": 3, "epochs": 7}}),
            "recipes": {"mine": RecipeSpec(name="linear-fast", params={"words.ngrams": 3})},
        }
    )
    assert resolve(spec).params.model.C == 3
    assert resolve(spec, overrides={"model.C": "0.5"}).params.model.C == 0.5
    assert resolve(spec, overrides={"model.C": "0.5"}).params.model.epochs == 7
    mine = resolve(spec, "mine")
    assert (mine.name, mine.family) == ("mine", "linear-fast")
    assert (mine.params.words.ngrams, mine.params.subwords.longest) == (3, 0)


def test_an_unknown_recipe_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownRecipe, match="liner") as error:
        resolve(DEMO, "liner")
    assert error.value.hint is not None
    assert "linear" in error.value.hint


def test_an_unknown_parameter_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownRecipe, match=r"model\.c") as error:
        resolve(DEMO, overrides={"model.c": "3"})
    assert error.value.hint is not None
    assert "model.C" in error.value.hint


@pytest.mark.parametrize(
    ("key", "value"), [("model.C", "much"), ("model.C", "-1"), ("words.ngrams", "9"), ("model.solver", "x")]
)
def test_a_value_that_a_parameter_cannot_take_is_refused(key: str, value: str) -> None:
    with pytest.raises(UnknownRecipe, match=f"{key} cannot be '{value}'"):
        resolve(DEMO, overrides={key: value})


# --- prototypes ------------------------------------------------------------------------------------------------------

ASOS_TEST_LABELS = {
    "Floral": 378,
    "Embellished": 199,
    "Graphic": 117,
    "Stripe": 101,
    "Embroidered": 67,
    "Check": 35,
    "Animal": 26,
    "Spot": 19,
    "Placement": 11,
}


def asos_texts(path: Path) -> tuple[list[str], list[str | None]]:
    """Texts as the prototype joins them, and labels, straight from the file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [f"{row['name']};{row['description']}" for row in rows], [row.get("pattern") for row in rows]


def test_the_asos_prototype_gives_the_published_figures(shared_data: Path) -> None:
    spec, train = products("asos", shared_data / "asos" / "exercise_train.tsv")
    _, test = products("asos", shared_data / "asos" / "exercise_test.tsv")
    model = fit(train, spec, resolve(spec, "asos-prototype"), seed=0)
    assert model.vectoriser.fields[0].widths == [1845]
    right = model.predict(train)["label"] == train["known_path"].list.join(" > ")
    assert round(float(right.mean() or 0), 4) == 0.9137
    assert Counter(model.predict(test)["label"].to_list()) == ASOS_TEST_LABELS


def test_the_asos_prototype_is_that_of_the_file_itself(shared_data: Path) -> None:
    """The same from the TSV by the csv module alone: row by row, with nothing of ours between file and vectoriser."""
    texts, labels = asos_texts(shared_data / "asos" / "exercise_train.tsv")
    prototype = PROTOTYPES["asos-prototype"]
    plain = make_pipeline(prototype.vectoriser(), prototype.estimator()).fit(texts, labels)
    test_texts, _ = asos_texts(shared_data / "asos" / "exercise_test.tsv")
    expected = plain.predict(test_texts).tolist()
    spec, train = products("asos", shared_data / "asos" / "exercise_train.tsv")
    _, test = products("asos", shared_data / "asos" / "exercise_test.tsv")
    model = fit(train, spec, resolve(spec, "asos-prototype"), seed=0)
    assert model.predict(test)["label"].to_list() == expected


def test_the_asos_prototype_has_the_published_scores_as_first_fitted_and_in_the_grid(shared_data: Path) -> None:
    texts, labels = asos_texts(shared_data / "asos" / "exercise_train.tsv")
    prototype = PROTOTYPES["asos-prototype"]
    words, estimator = prototype.vectoriser().set_params(max_df=1.0), prototype.estimator().set_params(l1_ratio=0.15)
    first = make_pipeline(words, estimator).fit(texts, labels)
    assert len(first[0].get_feature_names_out()) == 1845
    assert round(float(np.mean(first.predict(texts) == np.array(labels))), 4) == 0.9059
    winner = make_pipeline(prototype.vectoriser(), prototype.estimator())
    assert round(cross_val_score(winner, texts, labels, cv=8).mean(), 5) == 0.82946
    assert round(cross_val_score(winner, texts, labels, cv=16).mean(), 5) == 0.83042


def test_the_order_of_rows_matters_to_the_asos_prototype(shared_data: Path) -> None:
    spec, train = products("asos", shared_data / "asos" / "exercise_train.tsv")
    _, test = products("asos", shared_data / "asos" / "exercise_test.tsv")
    recipe = resolve(spec, "asos-prototype")
    labels = [fit(rows, spec, recipe, seed=0).predict(test)["label"] for rows in (train, train.sort("product_id"))]
    assert 930 < (labels[0] == labels[1]).sum() < test.height == 953


def test_the_newsgroups_prototype_gives_the_published_figures(shared_data: Path) -> None:
    spec, train = products("newsgroups", shared_data / "newsgroups" / "train.jsonl.gz")
    _, test = products("newsgroups", shared_data / "newsgroups" / "test.jsonl.gz")
    model = fit(train, spec, resolve(spec, "newsgroups-prototype"), seed=0)
    metrics = evaluate(test["known_path"], model.predict(test)["label_path"], spec.levels)
    assert metrics["rows"] == 2289
    assert round(metrics["accuracy"], 5) == 0.87025
    assert round(metrics["macro_f1"], 4) == 0.8665


def test_the_newsgroups_prototype_is_that_of_scikit_learn(shared_data: Path) -> None:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.naive_bayes import MultinomialNB

    def read(name: str) -> tuple[list[str], list[str]]:
        with gzip.open(shared_data / "newsgroups" / name, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return [row["text"] for row in rows], [row["label"] for row in rows]

    texts, labels = read("train.jsonl.gz")
    plain = make_pipeline(CountVectorizer(), TfidfTransformer(), MultinomialNB()).fit(texts, labels)
    spec, train = products("newsgroups", shared_data / "newsgroups" / "train.jsonl.gz")
    _, test = products("newsgroups", shared_data / "newsgroups" / "test.jsonl.gz")
    model = fit(train, spec, resolve(spec, "newsgroups-prototype"), seed=0)
    assert model.predict(test)["label"].to_list() == plain.predict(read("test.jsonl.gz")[0]).tolist()


def test_prototypes_are_scored_out_of_fold(shared_data: Path) -> None:
    spec, train = products("asos", shared_data / "asos" / "exercise_train.tsv")
    model = fit(train, spec, resolve(spec, "asos-prototype"), seed=0)
    assert model.out_of_fold["rows"] == train.height
    assert 0.82 < model.out_of_fold["accuracy"] < 0.84


def test_a_prototype_trains_on_any_catalogue_with_text() -> None:
    from tests.products import shop

    spec, frame = shop()
    for name in PROTOTYPES:
        model = fit(frame, spec, resolve(spec, name), seed=0)
        assert model.predict(frame.head(100))["label"].null_count() == 0
        assert model.vectoriser.reads == ["title", "description"]
    assert isinstance(frame, pl.DataFrame)
