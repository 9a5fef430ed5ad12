"""Recipes: named ways to train, with every parameter that they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import UnknownRecipe, did_you_mean
from core.kinds import kind_of

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, RecipeSpec

__all__ = [
    "NAMES",
    "CalibrationParams",
    "LinearParams",
    "PrototypeParams",
    "Recipe",
    "RecipeParams",
    "SubwordParams",
    "WordParams",
    "declared",
    "default",
    "flatten",
    "parameters",
    "passed_over",
    "resolve",
]

Family = Literal["linear", "linear-fast", "asos-prototype", "newsgroups-prototype"]
NAMES: tuple[Family, ...] = ("linear", "linear-fast", "asos-prototype", "newsgroups-prototype")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WordParams(_Part):
    """Words and word n-grams of text fields, and exact tokens of the other fields.

    Attributes:
        ngrams: longest run of words that is a feature.
        min_rows: a word, n-gram or exact token counts when it occurs in so many training rows.
        most: most features of a field; the least common go first.
        sublinear: a word that occurs n times counts 1 + ln n.
    """

    ngrams: Annotated[int, Field(ge=1, le=4)] = 2
    min_rows: Annotated[int, Field(ge=1)] = 2
    most: Annotated[int, Field(ge=100)] = 1_000_000
    sublinear: bool = True


class SubwordParams(_Part):
    """Character n-grams inside words, folded into the words.

    Attributes:
        shortest: characters of the shortest n-gram; 0 switches subwords off.
        longest: characters of the longest; 0 switches subwords off.
        min_words: an n-gram counts when it occurs in so many different words.
        most: most n-grams of a field; the least common go first.
        weight: length of this block beside the words of the field, which have length 1.
    """

    shortest: Annotated[int, Field(ge=0, le=8)] = 3
    longest: Annotated[int, Field(ge=0, le=8)] = 5
    min_words: Annotated[int, Field(ge=1)] = 2
    most: Annotated[int, Field(ge=100)] = 400_000
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0

    @property
    def counted(self) -> bool:
        """Whether there are any."""
        return bool(self.shortest and self.longest)

    @model_validator(mode="after")
    def _in_order(self) -> SubwordParams:
        if self.counted and self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest}) is above longest ({self.longest})")
        return self


class LinearParams(_Part):
    """The linear model, one against the rest.

    Attributes:
        solver: svc (LinearSVC), adagrad (AdaGradClassifier), or auto: svc below 20,000 rows.
        C: svc's inverse strength of the L2 penalty; larger fits closer.
        epochs: adagrad's passes over the rows; auto: 5, and fewer, at least 2, beyond 600,000 rows.
        rate: size of adagrad's first steps; larger fits closer.
        bayes: weight of complement naive Bayes beside the linear model, which has weight 1; 0 switches it off.
        levels: weight of a model of each upper level beside the one of whole label paths, which has weight 1; plain
            labels have none.
    """

    solver: Literal["auto", "svc", "adagrad"] = "auto"
    C: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=1000)] = "auto"
    rate: Annotated[float, Field(gt=0, le=10)] = 0.3
    bayes: Annotated[float, Field(ge=0, le=10)] = 0.4
    levels: Annotated[float, Field(ge=0, le=10)] = 0.5


class CalibrationParams(_Part):
    """Out-of-fold scoring behind confidences and thresholds.

    Attributes:
        folds: parts that the training rows are cut into, grouped by text.
        most_rows: no further fold is scored once so many rows are.
    """

    folds: Annotated[int, Field(ge=2, le=50)] = 5
    most_rows: Annotated[int, Field(ge=100)] = 30_000


class PrototypeParams(_Part):
    """What the authors of a prototype tried out; the published values are its recipe's defaults.

    Attributes:
        max_df: a word or n-gram does not count when it occurs in a larger share of the training rows.
        ngrams: longest run of words that is a feature.
        alpha: strength of the penalty; of newsgroups-prototype, what is added to every count.
        l1_ratio: share of the penalty that is L1; newsgroups-prototype has none.
    """

    max_df: Annotated[float, Field(gt=0, le=1)] = 1.0
    ngrams: Annotated[int, Field(ge=1, le=4)] = 1
    alpha: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    l1_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0


class RecipeParams(_Part):
    """All parameters of all recipes; `--set model.C=3` changes one."""

    words: WordParams = WordParams()
    subwords: SubwordParams = SubwordParams()
    model: LinearParams = LinearParams()
    calibration: CalibrationParams = CalibrationParams()
    prototype: PrototypeParams = PrototypeParams()


class Recipe(_Part):
    """A way to train.

    Attributes:
        name: what people call it.
        family: the built-in recipe that it is a variant of.
        params: its parameters, complete.
    """

    name: str
    family: Family
    params: RecipeParams = RecipeParams()

    @property
    def is_prototype(self) -> bool:
        """Whether it reproduces a published prototype: trained on every labelled row, evaluated out of fold."""
        return self.family.endswith("-prototype")

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters that this recipe reads, by dotted name."""
        every = flatten(self.params.model_dump())
        return {name: every[name] for name in parameters(self.family)}


_DEFAULTS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear-fast": {"subwords.shortest": 0, "subwords.longest": 0},
    # Published parameters: the grid's winner of the ASOS exercise; scikit-learn's defaults for the newsgroups.
    "asos-prototype": {
        "prototype.max_df": 0.75,
        "prototype.alpha": 1e-3,
        "prototype.l1_ratio": 0.1,
        "calibration.folds": 16,
    },
    "newsgroups-prototype": {"calibration.folds": 5},
}
# A parameter that a recipe does not read would be given in vain: it is refused.
_READ_BY_LINEAR = ("words.", "subwords.", "model.", "calibration.")
_READ: dict[str, tuple[str, ...]] = {
    "linear": _READ_BY_LINEAR,
    "linear-fast": _READ_BY_LINEAR,
    "asos-prototype": ("prototype.", "calibration.folds"),
    "newsgroups-prototype": ("prototype.max_df", "prototype.ngrams", "prototype.alpha", "calibration.folds"),
}


def resolve(spec: CatalogSpec, name: str | None = None, overrides: Mapping[str, str] | None = None) -> Recipe:
    """The recipe of that name for a catalogue: built-in defaults, then the TOML's parameters, then `overrides`.

    Args:
        spec: the catalogue; its default recipe is used when `name` is None.
        name: a recipe of the catalogue's TOML, or a built-in one.
        overrides: dotted parameter → value as text, as `--set model.C=3` gives them.

    Raises:
        UnknownRecipe: no such recipe, no such parameter, or a value that it cannot take.
    """
    wanted, family, own = declared(spec, name)
    flat = dict(_DEFAULTS[family])
    flat |= flatten({} if own is None else own.params)
    flat |= overrides or {}
    return Recipe(name=wanted, family=family, params=_build(flat, family, f"recipe {wanted}"))


def default(family: str) -> Recipe:
    """A built-in recipe, as no catalogue has changed it."""
    params = _build(_DEFAULTS[family], family, f"recipe {family}")
    return Recipe(name=family, family=cast("Family", family), params=params)


def declared(spec: CatalogSpec, name: str | None = None) -> tuple[str, Family, RecipeSpec | None]:
    """A recipe's name, the built-in one that it is a variant of, and what the catalogue's TOML says of it, if anything.

    Raises:
        UnknownRecipe: no such recipe.
    """
    wanted = spec.recipe.name if name is None else name
    own = spec.recipes.get(wanted)
    if own is None and wanted == spec.recipe.name:
        own = spec.recipe
    family = wanted if own is None else own.name
    if family not in _DEFAULTS:
        known = [*NAMES, *spec.recipes]
        raise UnknownRecipe(
            f"there is no recipe '{family}'", where=f"catalogue {spec.name}", hint=did_you_mean(family, known)
        )
    return wanted, cast("Family", family), own


def passed_over(spec: CatalogSpec, name: str | None) -> dict[str, Any]:
    """Parameters of the catalogue's `[recipe]` that a recipe asked for by name does not have, because it is another.

    Raises:
        UnknownRecipe: no such recipe.
    """
    _, _, own = declared(spec, name)
    return flatten(spec.recipe.params) if own is None else {}


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted name, as `--set` takes them."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def parameters(family: str) -> list[str]:
    """Dotted names of the parameters that a built-in recipe reads."""
    every = [
        f"{part}.{key}"
        for part, field in RecipeParams.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]
    return [name for name in every if name.startswith(_READ[family])]


def _build(flat: Mapping[str, Any], family: str, where: str) -> RecipeParams:
    known = parameters(family)
    nested: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        if key not in known:
            raise UnknownRecipe(f"there is no parameter '{key}'", where=where, hint=did_you_mean(key, known))
        part, _, own = key.partition(".")
        nested.setdefault(part, {})[own] = value
    try:
        return RecipeParams.model_validate(nested)
    except ValidationError as error:
        raise _refused(error.errors()[0], flat, where) from None


def _refused(entry: Mapping[str, Any], flat: Mapping[str, Any], where: str) -> UnknownRecipe:
    """The error for a value that a parameter cannot take, or for values that disagree."""
    part, *own = entry["loc"]
    group: Any = RecipeParams.model_fields[part].annotation
    if not own:
        return UnknownRecipe(f"{part}: {entry['ctx']['error']}", where=where, hint=f"change one of these two of {part}")
    key = f"{part}.{own[0]}"
    takes = kind_of(group.model_fields[own[0]])
    return UnknownRecipe(f"{key} cannot be {flat[key]!r}", where=where, hint=f"{key} takes {takes}")
