"""`aisle models`: what was trained, how models compare, and which one is champion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from aisle.commands.catalogues import require
from aisle.options import Catalog, Json, MaybeCatalog, Why
from aisle.render import as_json, count, emit, table
from aisle.summary import measured

Event = Literal["promoted", "rejected", "rolled_back"]
_COMMAND: dict[Event, str] = {"promoted": "promote", "rejected": "reject", "rolled_back": "rollback"}

Version = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION", help="A model version; without one you are told which there are.", show_default=False
    ),
]
Versions = Annotated[
    list[str] | None,
    typer.Argument(metavar="VERSION", help="Only these versions; all of them by default.", show_default=False),
]
MaybeVersion = Annotated[
    str | None,
    typer.Argument(metavar="VERSION", help="An earlier champion; the last one by default.", show_default=False),
]

DIGEST_CHARS = 12
"""Of a digest, so many tell two apart by eye; JSON has it whole."""

LISTED = [
    *("catalog", "model_version", "status", "recipe", "rows", "measured", "accuracy", "macro_f1"),
    *("trained_at", "gate", "why"),
]


def list_models(catalog: MaybeCatalog = None, as_json_: Json = False) -> None:
    """List the models of one catalogue or of all."""
    found = _models(catalog)
    if as_json_:
        emit(as_json(found))
        return
    emit(table(LISTED, [[model[name] for name in LISTED] for model in found]) if found else "no models yet")


def compare(catalog: Catalog, versions: Versions = None, as_json_: Json = False) -> None:
    """Show models side by side.

    What they were trained on, parameters that differ, what the gate said, hold-out scores, and F1 of every label (of a
    label path: of its first level). Of a prototype, which has no hold-out, the scores are out of fold.
    """
    from core.errors import UnknownModel, did_you_mean

    found = {model["model_version"]: model for model in _models(catalog)}
    for version in versions or []:
        if version not in found:
            raise UnknownModel(f"catalogue {catalog} has no model {version}", hint=did_you_mean(version, found))
    chosen = [found[version] for version in dict.fromkeys(versions or found)]
    same = len({model["data_digest"] for model in chosen}) < 2
    if as_json_:
        first = chosen[0]["data_digest"] if chosen else None
        emit(as_json([model | {"same_data_as_first": model["data_digest"] == first} for model in chosen]))
    elif not chosen:
        emit("no models yet")
    else:
        emit(table(["", *(model["model_version"] for model in chosen)], _side_by_side(chosen)))
        if len(chosen) > 1:
            emit(f"trained on {'the same' if same else 'different'} rows")


def promote(catalog: Catalog, version: Version = None, why: Why = "", as_json_: Json = False) -> None:
    """Make a model champion, whatever the gate said of it."""
    _decide(catalog, "promoted", version, why, as_json_)


def reject(catalog: Catalog, version: Version = None, why: Why = "", as_json_: Json = False) -> None:
    """Mark a model as not to be used."""
    _decide(catalog, "rejected", version, why, as_json_)


def rollback(catalog: Catalog, version: MaybeVersion = None, why: Why = "", as_json_: Json = False) -> None:
    """Make an earlier champion the champion again.

    The answers that it gave before are current again at once; nothing is scored.
    """
    _decide(catalog, "rolled_back", version, why, as_json_)


def _decide(catalog: str, event: Event, version: str | None, why: str, as_json_: bool) -> None:
    """Note a person's decision in the model's history, and publish it."""
    require(catalog)
    from warehouse import registry
    from warehouse.rollback import take_back
    from warehouse.runs import open_run

    with open_run(catalog, f"models {_COMMAND[event]}") as run:
        champion = registry.champion(run)
        before = None if champion is None else champion.version
        record = registry.overrule(run, event, version, why)
        why = why or registry.unexplained(event, before)
        back = take_back(run, record) if event == "rolled_back" else None
    after = before if event == "rejected" else record.version
    reused = {} if back is None else {"reused": back[0], "unanswered": back[1]}
    if as_json_:
        facts = {"catalog": catalog, "version": record.version, "event": event, "why": why}
        emit(as_json(facts | {"champion": after, "champion_before": before} | reused))
        return
    done = f"rolled back to {record.version}" if event == "rolled_back" else f"{record.version} was {event}"
    emit(f"{catalog}: {done}; the champion is {after or 'none'}")
    if back is not None:
        emit(_taken_back(*back))
    if after != before and (back is None or back[1]):
        emit(f"next: aisle score {catalog}, so that its answers stand in the predictions")


def _taken_back(reused: int, unanswered: int) -> str:
    """What a rollback made of the stored answers."""
    if reused:
        return f"{count(reused)} of its answers are current again"
    if unanswered:
        return f"no answer changes: it has none yet for {count(unanswered)} products"
    return "no answer changes: its own never stopped being current"


def _models(catalog: str | None) -> list[dict[str, Any]]:
    """Rows of the view `models`, with metrics and parameters read, and on what the metrics were measured."""
    from warehouse.home import get_home
    from warehouse.query import query
    from warehouse.statements import quoted

    where = ""
    if catalog is not None:
        require(catalog)
        where = f" WHERE catalog = {quoted(catalog)}"
    rows = query(get_home(), f"SELECT * FROM models{where}").as_dicts()
    return [
        row
        | {key: json.loads(row[key] or "{}") for key in ("params", "metrics")}
        | {"measured": measured(row["holdout_rows"])}
        for row in rows
    ]


def _side_by_side(models: list[dict[str, Any]]) -> list[list[Any]]:
    facts = ["status", "gate", "recipe", "rows", "holdout_rows"]
    facts += ["measured", "accuracy", "macro_f1", "weighted_f1", "train_s"]
    lines = [[name, *(model[name] for model in models)] for name in facts]
    lines.append(["data", *(model["data_digest"][:DIGEST_CHARS] for model in models)])
    params = [_flat(model["params"]) for model in models]
    differing = [key for key in _keys(params) if len(models) == 1 or len({str(own.get(key)) for own in params}) > 1]
    lines += [[key, *(own.get(key) for own in params)] for key in differing]
    by_label = [_f1_by_label(model["metrics"]) for model in models]
    lines += [[f"F1 {label}", *(f1.get(label) for f1 in by_label)] for label in _keys(by_label)]
    return lines


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted name, as `aisle train --set` takes them."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _f1_by_label(metrics: dict[str, Any]) -> dict[str, float]:
    """F1 of every label; of a label path's first level, the others being too many to compare by eye."""
    levels = metrics.get("levels")
    level = next(iter(levels.values()), {}) if levels else metrics
    return {label: scores["f1"] for label, scores in level.get("labels", {}).items()}


def _keys(mappings: Any) -> list[str]:
    """All keys, each once, in the order in which they first come."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))
