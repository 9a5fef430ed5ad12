"""What a search found, in words, and how to use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aisle.render import count, table

if TYPE_CHECKING:
    from tasks.model_results import TuneResult

TRIALS_SHOWN = 20
"""Trials that are shown, the best; JSON and the view `trials` have them all."""

# Five decimals: that is what the published searches give, and what ties are seen by.
_SCORE = "{:.5f}"


def tuned(result: TuneResult) -> str:
    """The best trials, the winner, and what to copy to use it."""
    number = len(result.trials)
    tried = f"{count(number)} trial{'s' if number > 1 else ''} of {result.recipe}"
    if result.tried < result.points:
        tried += f" ({count(result.tried)} of {count(result.points)} points of its space)"
    lines = [f"{result.catalog}: {tried} on {count(result.rows)} rows in {_folds(result)} (run {result.run_id})"]
    varied = sorted(result.space)
    rows = [
        [place, *(trial["tried"].get(key, "") for key in varied), *_scores(trial), f"{trial['fit_s']:.1f}"]
        for place, trial in enumerate(result.trials[:TRIALS_SHOWN], 1)
    ]
    lines += [f"note: {sentence}" for sentence in result.unread]
    lines.append(table(["", *varied, "accuracy", "macro F1", "seconds"], rows))
    left = len(result.trials) - TRIALS_SHOWN
    if left > 0:
        lines.append(f"… and {left:,} more: --json has them all, and so has the view trials")
    lines += [f"failed: {_varied(one['tried'])}: {one['error']}: {one['message']}" for one in result.failed]
    best, standing = result.best, result.standing
    lines += ["", f"best: {_varied(best['tried'])}, accuracy {_SCORE.format(best['accuracy'])} (mean of the folds)"]
    held = " with what was held" if result.fixed else ""
    if best == standing:
        lines.append(f"that is the recipe as it stands{held}")
        if not result.fixed:
            return "\n".join([*lines, "there is nothing to change"])
    elif standing is not None:
        own = f"{_varied(standing['tried'])}, accuracy {_SCORE.format(standing['accuracy'])}"
        lines.append(f"as it stands{held}: {own}")
    how = use(result)
    return "\n".join([*lines, "", "to try it:", f"  {how['command']}", "", "to keep it, in the TOML:", how["toml"]])


def use(result: TuneResult) -> dict[str, Any]:
    """What makes a model of the winner: options of `aisle train`, the whole command, and lines for the TOML."""
    from catalogs.registry import load
    from classifier.recipes import default, resolve
    from classifier.space import read_of

    chosen = {**result.fixed, **result.best["tried"]}
    chosen = read_of(chosen, resolve(load(result.catalog), result.recipe, chosen), result.rows)
    options = [f"--set {key}={value}" for key, value in chosen.items()]
    command = " ".join([f"aisle train {result.catalog} --recipe {result.recipe}", *options])
    key = "recipe" if result.recipe == result.family else f"recipes.{result.recipe}"
    builtin = default(result.family).settings
    # Also what the catalogue had changed before: these lines replace it.
    kept = {
        name: value
        for name, value in result.best["params"].items()
        if name in chosen or (value != builtin[name] and name not in result.fixed)
    }
    params = [f"{name} = {_toml(value)}" for name, value in kept.items()]
    lines = [f"[{key}]", f'name = "{result.family}"', *([f"[{key}.params]", *params] if params else [])]
    return {"options": options, "command": command, "toml": "\n".join(f"  {line}" for line in lines)}


def _folds(result: TuneResult) -> str:
    """How many folds, and how many of them and of the rows a score comes from where that is not all."""
    if result.folds_scored == result.folds:
        return f"{result.folds} folds"
    return f"{result.folds} folds, {result.folds_scored} of them scored: {count(result.rows_scored)} rows"


def _varied(tried: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in tried.items()) or "nothing was varied"


def _scores(trial: dict[str, Any]) -> list[str]:
    return [_SCORE.format(trial[name]) for name in ("accuracy", "macro_f1")]


def _toml(value: Any) -> str:
    """A parameter as TOML has it: numbers, true, false and quoted text are written as in JSON."""
    return json.dumps(value)
