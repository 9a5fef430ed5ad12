"""A recipe is found by name and changed by parameter."""

from __future__ import annotations

import pytest

from catalogs import registry
from catalogs.spec import RecipeSpec
from classifier.model import fit
from classifier.recipes import NAMES, resolve
from classifier.space import not_read, points, space_of, trials_of
from core.errors import UnknownRecipe
from tests.products import shop

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
    ("key", "value"),
    [
        *(("model.C", value) for value in ("much", "-1", "inf", "nan", "1e308")),
        ("words.ngrams", "9"),
        ("model.solver", "x"),
    ],
)
def test_a_value_that_a_parameter_cannot_take_is_refused(key: str, value: str) -> None:
    with pytest.raises(UnknownRecipe, match=f"{key} cannot be '{value}'"):
        resolve(DEMO, overrides={key: value})


@pytest.mark.parametrize(
    ("key", "value", "takes"),
    [
        ("model.epochs", "0", "`auto` or whole number, ≥ 1, ≤ 1000"),
        ("model.epochs", "3.5", "`auto` or whole number, ≥ 1, ≤ 1000"),
        ("model.C", "nan", "number, > 0, ≤ 1000000"),
        ("model.solver", "x", "`auto` or `svc` or `adagrad`"),
        ("words.sublinear", "perhaps", "true or false"),
    ],
)
def test_a_refusal_says_what_the_parameter_takes(key: str, value: str, takes: str) -> None:
    with pytest.raises(UnknownRecipe) as error:
        resolve(DEMO, overrides={key: value})
    assert error.value.message == f"{key} cannot be '{value}'"
    assert error.value.hint == f"{key} takes {takes}"


def test_of_two_that_disagree_both_are_named() -> None:
    with pytest.raises(UnknownRecipe, match=r"subwords: shortest \(6\) is above longest \(5\)"):
        resolve(DEMO, overrides={"subwords.shortest": "6"})


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        ("asos-prototype", "model.C"),
        ("newsgroups-prototype", "prototype.l1_ratio"),
        ("asos-prototype", "calibration.most_rows"),
        ("linear", "prototype.alpha"),
    ],
)
def test_a_parameter_that_a_recipe_does_not_read_is_refused(recipe: str, key: str) -> None:
    with pytest.raises(UnknownRecipe, match=f"no parameter '{key}'"):
        resolve(DEMO, recipe, {key: "0.5"})


def test_the_settings_of_a_recipe_are_the_parameters_that_it_reads() -> None:
    assert resolve(DEMO, "newsgroups-prototype").settings == {
        "prototype.max_df": 1.0,
        "prototype.ngrams": 1,
        "prototype.alpha": 1.0,
        "calibration.folds": 5,
    }
    assert "prototype.alpha" not in resolve(DEMO).settings


# --- spaces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_space_whose_points_it_takes(name: str) -> None:
    for rows in (1_000, 1_000_000):
        for point in points(space_of(DEMO, name, {}, rows), None, seed=0):
            assert resolve(DEMO, name, point).settings.items() >= point.items()


def test_of_a_linear_recipe_only_parameters_of_its_solver_are_tried() -> None:
    assert "model.C" in space_of(DEMO, "linear", {}, 1_000)
    assert "model.rate" not in space_of(DEMO, "linear", {}, 1_000)
    assert "model.C" not in space_of(DEMO, "linear", {}, 1_000_000)
    assert "model.rate" in space_of(DEMO, "linear", {"model.solver": "adagrad"}, 1_000)


def test_of_a_space_of_ones_own_what_is_not_read_is_left_out() -> None:
    own = RecipeSpec(name="linear", space={"model": {"C": [1, 2], "rate": [0.1, 0.2]}})
    spec = DEMO.model_copy(update={"recipe": own})
    assert space_of(spec, None, {}, 1_000) == {"model.C": [1, 2]}
    assert space_of(spec, None, {}, 1_000_000) == {"model.rate": [0.1, 0.2]}
    both = RecipeSpec(name="linear", space={"model": {"solver": ["svc", "adagrad"], "rate": [0.1, 0.2]}})
    spec = DEMO.model_copy(update={"recipe": both})
    assert set(space_of(spec, None, {}, 1_000)) == {"model.solver", "model.rate"}
    assert set(space_of(spec, None, {"model.solver": "adagrad"}, 1_000)) == {"model.rate"}
    assert space_of(spec, None, {"model.solver": "svc", "model.rate": "1"}, 1_000) == {}
    none = RecipeSpec(name="linear", space={"model": {"rate": [0.1, 0.2]}})
    with pytest.raises(UnknownRecipe, match=r"nothing to try out: model\.rate is not read") as error:
        space_of(DEMO.model_copy(update={"recipe": none}), None, {}, 1_000)
    assert error.value.where == "catalogue demo, recipe.space"


def test_points_that_differ_in_nothing_that_is_read_are_tried_once() -> None:
    both = RecipeSpec(name="linear", space={"model": {"solver": ["svc", "adagrad"], "C": [1, 2], "rate": [0.1, 0.2]}})
    spec = DEMO.model_copy(update={"recipe": both})
    space = space_of(spec, None, {}, 1_000)
    whole = trials_of(spec, None, {}, space, None, 0, 1_000)
    tried = [point for _, point in whole.trials]
    assert len(tried) == whole.tried == whole.points == 4
    # The recipe as it stands is one of them: auto is svc for so few rows.
    assert whole.standing == 0
    assert tried[0] == {"model.solver": "svc", "model.C": 1}
    assert {frozenset(point.items()) for point in tried} == {
        frozenset({("model.solver", solver), (key, value)})
        for solver, key, values in (("svc", "model.C", (1, 2)), ("adagrad", "model.rate", (0.1, 0.2)))
        for value in values
    }
    for recipe, point in whole.trials:
        if point["model.solver"] == "svc":
            assert recipe.params.model.rate == resolve(DEMO).params.model.rate  # not that of a point that was dropped
    for most in (1, 2, 3, 4):
        few = trials_of(spec, None, {}, space, most, 0, 1_000)
        assert most <= few.tried == len(few.trials) <= min(most + 1, 4)
    auto = trials_of(spec, None, {}, {"model.solver": ["auto", "svc"], "model.C": [1]}, None, 0, 1_000)
    assert [point for _, point in auto.trials] == [{"model.solver": "svc", "model.C": 1}]


@pytest.mark.parametrize(
    ("given", "rows", "fits"),
    [
        ({"model.rate": "0.1"}, 1_000, False),
        ({"model.rate": "0.1"}, 1_000_000, True),
        ({"model.C": "3"}, 1_000_000, False),
        ({"model.rate": "0.1", "model.solver": "adagrad"}, 1_000, True),
        ({"model.epochs": "3", "model.solver": "svc"}, 1_000_000, False),
        ({"model.bayes": "0"}, 1_000, True),
    ],
)
def test_a_parameter_of_the_other_solver_is_said_to_change_nothing(
    given: dict[str, str], rows: int, *, fits: bool
) -> None:
    said = not_read([resolve(DEMO, "linear-fast", given)], given, rows)
    assert len(said) == (0 if fits else 1)
    if not fits:
        assert said[0].startswith(f"{next(iter(given))} changes nothing: the solver is ")
        key, _, solver = said[0].partition(". With ")[2].partition(" ")[0].partition("=")
        changed = resolve(DEMO, "linear-fast", given | {key: solver})
        assert not_read([changed], given, rows) == []  # what the sentence says helps


def test_the_catalogue_replaces_the_space_and_the_caller_holds_parameters() -> None:
    own = RecipeSpec(name="linear", space={"model": {"C": [1, 2]}, "words.ngrams": [1, 2, 3]})
    spec = DEMO.model_copy(update={"recipe": own})
    space = space_of(spec, None, {}, 1_000)
    assert space == {"model.C": [1, 2], "words.ngrams": [1, 2, 3]}
    assert len(points(space, None, seed=0)) == 6
    assert space_of(spec, None, {"model.C": "3"}, 1_000) == {"words.ngrams": [1, 2, 3]}
    assert points({}, None, seed=0) == [{}]


def test_a_bounded_search_tries_a_seeded_choice() -> None:
    space = space_of(DEMO, "asos-prototype", {}, 1_000)
    few = points(space, 5, seed=0)
    assert len({str(point) for point in few}) == 5
    assert few == points(space, 5, seed=0) != points(space, 5, seed=1)
    assert len(points(space, 1_000, seed=0)) == 54


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"model.c": [1]}, r"recipe\.space\.model\.c: 'model\.c' is no parameter"),
        ({"model": {"C": 3}}, r"recipe\.space\.model\.C: needs a list"),
        ({"model.C": []}, r"recipe\.space\.model\.C: needs a list"),
        ({"model.C": [1, -1]}, r"recipe\.space\.model\.C: model\.C cannot be -1"),
        ({"calibration.folds": [3, 5]}, r"recipe\.space\.calibration\.folds: .* cannot be tried out"),
    ],
)
def test_a_space_that_cannot_be_used_is_refused_by_its_key(space: dict[str, object], said: str) -> None:
    spec = DEMO.model_copy(update={"recipe": RecipeSpec(name="linear", space=space)})
    with pytest.raises(UnknownRecipe, match=said):
        space_of(spec, None, {}, 1_000)
    named = DEMO.model_copy(update={"recipes": {"mine": RecipeSpec(name="linear", space=space)}})
    with pytest.raises(UnknownRecipe, match=said.replace("recipe", r"recipes\.mine", 1)):
        space_of(named, "mine", {}, 1_000)


@pytest.mark.parametrize("key", ["subwords.shortest", "subwords.longest"])
def test_either_length_of_zero_switches_subwords_off(key: str) -> None:
    spec, frame = shop()
    model = fit(frame[:400], spec, resolve(spec, None, {key: "0"}), seed=0)
    assert [len(field.widths) for field in model.vectoriser.fields] == [2, 2, 1, 1, 1]


def test_a_shortest_above_the_longest_is_refused() -> None:
    spec, _ = shop()
    with pytest.raises(UnknownRecipe, match=r"shortest \(6\) is above longest \(5\)"):
        resolve(spec, None, {"subwords.shortest": "6"})
