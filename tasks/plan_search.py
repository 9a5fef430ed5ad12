"""Step: which recipes a search tries out, on which rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from catalogs import registry
from classifier.recipes import Recipe
from classifier.space import Space, features_of, folds_of, not_read, space_of, trials_of
from core.orchestration import step
from core.settings import get_settings
from tasks.split_rows import split_rows
from warehouse.runs import joined


@dataclass(frozen=True)
class Trial:
    """One recipe to try out, named by plain data so that it can travel to any worker."""

    number: int
    catalog: str
    recipe: Recipe
    tried: dict[str, Any]
    rows_file: str
    folds: int
    seed: int


@dataclass(frozen=True)
class Search:
    """What a search does.

    Attributes:
        recipe: name of the recipe.
        family: the built-in recipe that it is a variant of.
        space: parameter → values.
        fixed: parameters that the caller holds to one value.
        rows: training rows.
        data_digest: sha256 of them.
        folds: parts that they are cut into.
        points: points of the space, of which `tried` are among the trials.
        trials: the recipe as it stands, and then the grid in its order; of a prototype the grid alone.
        standing: number of the trial that is the recipe as it stands, with what the caller holds; None: none is.
        unread: sentences on held parameters that no trial reads.
    """

    recipe: str
    family: str
    space: Space
    fixed: dict[str, str]
    rows: int
    data_digest: str
    folds: int
    points: int
    tried: int
    trials: list[Trial]
    standing: int | None
    unread: list[str]


@step("plan search")
def plan_search(
    run_id: str, recipe: str | None, overrides: dict[str, str] | None, most: int | None, folds: int | None
) -> Search:
    """Lay the training rows down in the run's staging folder, and list the points of the space and the recipe as it is.

    Trials that share their features stand together.

    Raises:
        NotEnoughLabels, OneClass: no product has a label, or they teach nothing.
        UnknownRecipe: no such recipe or parameter, or a space that cannot be used.
    """
    run = joined(run_id)
    spec = registry.load(run.catalog)
    fixed = overrides or {}
    split = split_rows.fn(run_id, recipe, fixed)
    count = folds or folds_of(spec, split.recipe, fixed)
    space = space_of(spec, recipe, fixed, split.train.height)
    seed = get_settings().seed
    rows_file = run.staging / "rows.parquet"
    split.train.write_parquet(rows_file)
    chosen = trials_of(spec, recipe, fixed, space, most, seed, split.train.height)
    trials = [
        Trial(i, run.catalog, resolved, tried, str(rows_file), count, seed)
        for i, (resolved, tried) in enumerate(chosen.trials, 1)
    ]
    unread = not_read([resolved for resolved, _ in chosen.trials], fixed, split.train.height)
    trials.sort(key=lambda trial: str(features_of(trial.recipe)))
    return Search(
        recipe=split.recipe.name,
        family=split.recipe.family,
        space=space,
        fixed=fixed,
        rows=split.train.height,
        data_digest=split.data_digest,
        folds=count,
        points=chosen.points,
        tried=chosen.tried,
        trials=trials,
        standing=None if chosen.standing is None else chosen.standing + 1,
        unread=unread,
    )
