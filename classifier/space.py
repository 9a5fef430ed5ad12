"""The parameters that a search tries out: a recipe's declared space, and the points of it that are tried."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from classifier.linear import solver_of, unread
from classifier.recipes import Recipe, declared, flatten, parameters, resolve
from core.errors import UnknownRecipe, did_you_mean

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = [
    "SPACES",
    "Chosen",
    "Space",
    "declared_space",
    "features_of",
    "folds_of",
    "not_read",
    "points",
    "read_of",
    "space_of",
    "trials_of",
]

Space = dict[str, list[Any]]

# What is tried unless the catalogue's TOML declares a space of its own. Of a linear recipe's solvers one is used, and
# only its parameters are tried.
_SOLVERS: Space = {"model.C": [0.3, 1.0, 3.0], "model.rate": [0.2, 0.4], "model.epochs": [5, 10]}
SPACES: dict[str, Space] = {
    "linear": {"words.ngrams": [1, 2], "subwords.weight": [0.5, 1.0], **_SOLVERS},
    "linear-fast": {"words.ngrams": [1, 2], "words.min_rows": [1, 2], **_SOLVERS},
    # The published grid.
    "asos-prototype": {
        "prototype.max_df": [0.5, 0.75, 1.0],
        "prototype.ngrams": [1, 2],
        "prototype.alpha": [1e-5, 1e-4, 1e-3],
        "prototype.l1_ratio": [0.01, 0.05, 0.1],
    },
    "newsgroups-prototype": {
        "prototype.max_df": [0.5, 1.0],
        "prototype.ngrams": [1, 2],
        "prototype.alpha": [0.01, 0.1, 1.0],
    },
}
# Folds of the published search; the other recipes are searched with the folds of their calibration.
_PUBLISHED_FOLDS = {"asos-prototype": 8}
_FOLDS = "calibration.folds"
_OF_THE_ESTIMATOR = ("model.", "prototype.alpha", "prototype.l1_ratio")


class Chosen(NamedTuple):
    """What a search tries out.

    Attributes:
        trials: the recipes, each with the parameters that make it.
        points: points that the space has.
        tried: points of the space among the trials.
        standing: place of the recipe as it stands; None where it is not among them.
    """

    trials: list[tuple[Recipe, dict[str, Any]]]
    points: int
    tried: int
    standing: int | None


def space_of(spec: CatalogSpec, name: str | None, fixed: Mapping[str, str], rows: int) -> Space:
    """Parameter → values to try.

    Args:
        spec: the catalogue; a space in its TOML replaces the recipe's own.
        name: the recipe; the catalogue's default when None.
        fixed: parameters that the caller holds to one value; they are not tried out.
        rows: training rows; they decide which solver a linear recipe uses.

    Raises:
        UnknownRecipe: no such recipe; a parameter that it does not have or that cannot be tried out, no list of values,
            or a value that it cannot take; each with its key in the TOML. Nothing in it that is read for so many rows.
    """
    space = declared_space(spec, name)
    tried = space or SPACES[resolve(spec, name).family]
    if "model.solver" not in tried or "model.solver" in fixed:
        tried = read_of(tried, resolve(spec, name, fixed), rows)
    if not tried:
        raise UnknownRecipe(
            f"nothing to try out: {', '.join(space)} {'is' if len(space) == 1 else 'are'} not read",
            where=f"catalogue {spec.name}, {_table(spec, name)}",
            hint=f"{rows:,} training rows are fitted by another solver; add parameters of it, or set model.solver",
        )
    return {key: list(values) for key, values in tried.items() if key not in fixed}


def declared_space(spec: CatalogSpec, name: str | None = None) -> Space:
    """The space that the catalogue's TOML declares for a recipe; empty where it declares none.

    Raises:
        UnknownRecipe: as for `space_of`.
    """
    _, family, own = declared(spec, name)
    space = flatten(own.space) if own is not None else {}
    _check(space, spec, name, family, _table(spec, name))
    return space


def trials_of(
    spec: CatalogSpec, name: str | None, fixed: Mapping[str, str], space: Space, most: int | None, seed: int, rows: int
) -> Chosen:
    """The recipes that a search tries out: points that differ in nothing that is read are one.

    The recipe as it stands is among them, whether its parameters are in the space or not: what is found is worth
    something only beside it. A prototype is searched as its authors did, and nothing is added.

    Args:
        spec: the catalogue.
        name: the recipe; the catalogue's default when None.
        fixed: parameters that the caller holds to one value.
        space: as `space_of` gives it.
        most: a seeded choice of so many points.
        seed: of that choice.
        rows: training rows.
    """
    several = "model.solver" in space  # otherwise everything in the space is read
    found: dict[str, dict[str, Any]] = {}
    for point in points(space, None if several else most, seed):
        tried = _settled(point, resolve(spec, name, {**fixed, **point}), rows)
        found.setdefault(str(tried), tried)
    chosen = list(found.values())
    count = len(chosen) if several else math.prod(map(len, space.values()))
    if most is not None and most < len(chosen):
        places = np.random.default_rng(seed).choice(len(chosen), most, replace=False)
        chosen = [chosen[place] for place in sorted(places)]
    own = resolve(spec, name, fixed)
    standing = _settled({key: own.settings[key] for key in sorted(space)}, own, rows)
    if not own.is_prototype:  # first, so that of equals it wins
        chosen = [standing, *(tried for tried in chosen if tried != standing)]
    place = chosen.index(standing) if standing in chosen else None
    inside = sum(_is_in(space, tried) for tried in chosen)
    recipes = [(resolve(spec, name, {**fixed, **tried}), tried) for tried in chosen]
    return Chosen(recipes, count, inside, place)


def _settled(point: Mapping[str, Any], recipe: Recipe, rows: int) -> dict[str, Any]:
    """What of a point is read for so many rows, with the solver that `auto` is."""
    tried = read_of(point, recipe, rows)
    return tried | {"model.solver": solver_of(recipe.params.model, rows)} if "model.solver" in tried else tried


def _is_in(space: Space, tried: Mapping[str, Any]) -> bool:
    return all(value in space[key] or (key == "model.solver" and "auto" in space[key]) for key, value in tried.items())


def not_read(recipes: Sequence[Recipe], given: Collection[str], rows: int) -> list[str]:
    """Sentences on parameters that were given for this one time and that none of these recipes reads for so many rows.

    They are no error: a deployment that gives one may have grown from one solver into the other.
    """
    said = []
    for key in given:
        if recipes and all(key not in read_of({key: None}, recipe, rows) for recipe in recipes):
            params = recipes[0].params.model
            why = f"as auto takes for {rows:,} training rows" if params.solver == "auto" else "as model.solver says"
            own = unread(params, rows)[key]
            said.append(
                f"{key} changes nothing: the solver is {solver_of(params, rows)}, {why}. "
                f"With model.solver={own} it would be read."
            )
    return said


def points(space: Space, most: int | None, seed: int) -> list[dict[str, Any]]:
    """Every point of a space, in scikit-learn's order; a seeded choice of `most` of them when there are more."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    grid = ParameterGrid(space)
    chosen = grid if most is None or most >= len(grid) else ParameterSampler(space, most, random_state=seed)
    return [{key: point[key] for key in sorted(point)} for point in chosen]


def folds_of(spec: CatalogSpec, recipe: Recipe, fixed: Mapping[str, str]) -> int:
    """Folds that a search of this recipe cuts the rows into, unless it is told otherwise with `--folds`.

    Those of its calibration; of a prototype that was searched with others those, unless the caller (`fixed`) or the
    catalogue's TOML asks for a number of folds by name.
    """
    _, _, own = declared(spec, recipe.name)
    asked = set(fixed) | set(flatten({} if own is None else own.params))
    if _FOLDS in asked:
        return recipe.params.calibration.folds
    return _PUBLISHED_FOLDS.get(recipe.family, recipe.params.calibration.folds)


def read_of(params: Mapping[str, Any], recipe: Recipe, rows: int) -> dict[str, Any]:
    """Those of these parameters that fitting so many rows by this recipe reads: one of two solvers has its own."""
    left = () if recipe.is_prototype else unread(recipe.params.model, rows)
    return {key: value for key, value in params.items() if key not in left}


def features_of(recipe: Recipe) -> dict[str, Any]:
    """The parameters that decide a recipe's features; the others only change how the model is fitted to them."""
    return {key: value for key, value in recipe.settings.items() if not key.startswith(_OF_THE_ESTIMATOR)}


def _table(spec: CatalogSpec, name: str | None) -> str:
    """Where a recipe's space stands in the TOML."""
    wanted = name or spec.recipe.name
    return f"recipes.{wanted}.space" if wanted in spec.recipes else "recipe.space"


def _check(space: Mapping[str, Any], spec: CatalogSpec, name: str | None, family: str, where: str) -> None:
    known = [key for key in parameters(family) if not key.startswith("calibration.")]
    for key, values in space.items():
        place = f"catalogue {spec.name}, {where}.{key}"
        if key not in known:
            said = "cannot be tried out" if key in parameters(family) else "is no parameter of this recipe"
            raise UnknownRecipe(f"'{key}' {said}", where=place, hint=did_you_mean(key, known))
        if not isinstance(values, list) or not values:
            raise UnknownRecipe(
                "needs a list of values to try",
                where=place,
                hint=f"write it like {key} = {SPACES['linear']['model.C']}",
            )
        for value in values:
            try:
                resolve(spec, name, {key: value})
            except UnknownRecipe as error:
                raise UnknownRecipe(error.message, where=place, hint=error.hint) from None
