"""Models of a catalogue: what happened to each, which one is champion, and where its artifact lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, cast

import polars as pl

from core.errors import ModelError, NoChampion, UnknownModel, UsageError, did_you_mean
from warehouse import tables
from warehouse.home import Home
from warehouse.recorded import recorded
from warehouse.runs import Run, announce

CROWNING = ("promoted", "rolled_back")
"""Events after which a version is champion."""

STATUS = {"trained": "challenger", "promoted": "former champion", "rolled_back": "former champion"}
"""What the last event makes of a version that is not champion; the other events name the status themselves."""


@dataclass(frozen=True)
class ModelRecord:
    """A registered model."""

    catalog: str
    version: str
    digest: str
    recipe: str
    folder: Path
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """What training tells the registry."""

    version: str
    digest: str
    recipe: str
    params: dict[str, Any]
    data_digest: str
    rows: int
    holdout_rows: int
    metrics: dict[str, Any]
    train_s: float


def next_version(run: Run) -> str:
    """The name of the next model: v1, v2 and so on."""
    taken = run.read("models")["version"].unique().to_list()
    return f"v{max((int(version[1:]) for version in taken), default=0) + 1}"


def register(run: Run, trained: Trained) -> ModelRecord:
    """Write down a newly trained model, as challenger."""
    facts = {
        "digest": trained.digest,
        "recipe": trained.recipe,
        "params": json.dumps(trained.params, sort_keys=True, default=str),
        "data_digest": trained.data_digest,
        "rows": trained.rows,
        "holdout_rows": trained.holdout_rows,
        "accuracy": trained.metrics.get("accuracy"),
        "macro_f1": trained.metrics.get("macro_f1"),
        "weighted_f1": trained.metrics.get("weighted_f1"),
        "metrics": json.dumps(trained.metrics, default=str),
        "train_s": trained.train_s,
    }
    _append(run, "trained", trained.version, "", facts)
    return _record(run.home, run.catalog, run.read("models"), trained.version)


def note(run: Run, event: str, version: str, why: str, by: str = "gate") -> None:
    """Write down that a model was promoted, refused, rejected or rolled back to; champions and refusals are told."""
    before = champion(run)
    _append(run, event, version, why, {"decided_by": by})
    facts = {"version": version, "champion_before": before and before.version, "why": why, "decided_by": by}
    if event in CROWNING:
        announce(run, "aisle.model.promoted", f"{version} is champion of {run.catalog}: {why}".rstrip(": "), facts)
    elif event == "refused":
        announce(run, "aisle.challenger.refused", f"{version} of {run.catalog} was refused: {why}", facts)


def keep_checks(run: Run, version: str, champion: str, checks: list[dict[str, Any]], seed: int) -> None:
    """Keep what the gate found when it compared a version with the champion, in that order."""
    same = {
        "run_id": run.run_id,
        "judged_at": run.later_than(run.read("gate")["judged_at"]),
        "model_version": version,
        "champion_version": champion,
        "seed": seed,
    }
    rows = [{**check, **same, "place": place} for place, check in enumerate(checks, 1)]
    run.append("gate", tables.conform(pl.DataFrame(rows, infer_schema_length=None), "gate"))


def overrule(run: Run, event: str, version: str | None, why: str) -> ModelRecord:
    """A person's decision about a model: `promoted`, `rejected`, or `rolled_back` (by default to the champion before).

    Raises:
        UnknownModel: no such version, or no earlier champion.
        UsageError: no version where one is needed.
        ModelError: the champion cannot be rejected, nor promoted again.
    """
    now = champion(run)
    current = None if now is None else now.version
    if version is None:
        version = _champion_before(run, current) if event == "rolled_back" else _nobody(run, event, current)
    chosen = get(run.home, run.catalog, run.read("models"), version)
    if chosen.version == current and event == "rejected":
        raise ModelError(
            f"{chosen.version} is the champion: somebody has to answer",
            hint="first make another one champion: aisle models rollback, or aisle models promote",
        )
    if chosen.version == current:
        raise ModelError(
            f"{chosen.version} is the champion already", hint="nothing to do; aisle models list shows them all"
        )
    note(run, event, chosen.version, why or unexplained(event, current), by="person")
    return chosen


def unexplained(event: str, before: str | None) -> str:
    """What the history says of a person's decision that came without a reason; `before` was champion until then."""
    if event == "rejected":
        return "rejected by a person, who gave no reason"
    if event == "rolled_back":
        return "rolled back" if before is None else f"rolled back from {before}"
    return "promoted by a person" if before is None else f"promoted by a person in place of {before}"


def _nobody(run: Run, event: str, current: str | None) -> NoReturn:
    """Say which versions there are, where one has to be named and none was."""
    last = run.read("models").sort("noted_at").group_by("version", maintain_order=True).agg(pl.col("event").last())
    if last.is_empty():
        raise UnknownModel(f"catalogue {run.catalog} has no model yet", hint=f"train one: aisle train {run.catalog}")
    there = ", ".join(
        f"{version} ({'champion' if version == current else STATUS.get(said, said)})" for version, said in last.rows()
    )
    raise UsageError(
        f"a VERSION has to be named; catalogue {run.catalog} has {there}",
        hint=f"such as: aisle models {event.removesuffix('ed') if event == 'rejected' else 'promote'} "
        f"{run.catalog} {last['version'][-1]}",
    )


def _champion_before(run: Run, current: str | None) -> str:
    events = run.read("models").sort("noted_at")
    reigns: list[str] = []
    for event, version in events.select("event", "version").iter_rows():
        if event == "promoted":
            reigns.append(version)
        elif event == "rolled_back" and version in reigns:  # back to that reign; those after it have ended for good
            del reigns[len(reigns) - reigns[::-1].index(version) :]
        elif event == "rolled_back":  # to one whose reign had ended: it begins another
            reigns.append(version)
    rejected = set(events.filter(pl.col("event") == "rejected")["version"])
    earlier = [version for version in reigns if version != current and version not in rejected]
    if not earlier:
        raise UnknownModel(
            f"catalogue {run.catalog} has no earlier champion to go back to",
            hint=f"see `aisle models list {run.catalog}`; any model can be made champion with `aisle models promote`",
        )
    return str(earlier[-1])


def _append(run: Run, event: str, version: str, why: str, facts: dict[str, Any]) -> None:
    noted_at = run.later_than(run.read("models")["noted_at"])
    row = {"noted_at": noted_at, "event": event, "version": version, "why": why, "run_id": run.run_id, **facts}
    run.append("models", tables.conform(pl.DataFrame([row]), "models"))


def champion(run: Run) -> ModelRecord | None:
    """The champion as this run sees it."""
    return _champion(run.home, run.catalog, run.read("models"))


def need_champion(run: Run) -> ModelRecord:
    """The champion as this run sees it.

    Raises:
        NoChampion: none was promoted yet.
    """
    found = champion(run)
    if found is None:
        raise _no_champion(run.home, run.catalog, run.read("models"))
    return found


def trained_at(run: Run, version: str) -> datetime:
    """When a model was trained."""
    events = run.read("models").filter((pl.col("version") == version) & (pl.col("event") == "trained"))
    return cast("datetime", events["noted_at"].max())


def last_training(run: Run) -> datetime | None:
    """When a model was last trained, whatever became of it."""
    found = run.read("models").filter(pl.col("event") == "trained")["noted_at"].max()
    return found if isinstance(found, datetime) else None


def published_champion(home: Home, catalog: str) -> ModelRecord:
    """The champion that the last recorded run left.

    Raises:
        NoChampion: none was promoted yet.
    """
    events = published(home, catalog)
    found = _champion(home, catalog, events)
    if found is None:
        raise _no_champion(home, catalog, events)
    return found


def _no_champion(home: Home, catalog: str, events: pl.DataFrame) -> NoChampion:
    """The error that says whether a model has to be trained first, or one that was trained has to be chosen."""
    last = events.sort("noted_at").group_by("version", maintain_order=True).agg(pl.col("event").last())
    candidates = last.filter(pl.col("event") != "rejected")["version"]
    if candidates.is_empty():
        return NoChampion(
            f"there is no model of catalogue {catalog} yet",
            where=str(home.models(catalog)),
            hint=f"train one: aisle run {catalog} SOURCE, or aisle train {catalog} after aisle ingest {catalog} SOURCE",
        )
    return NoChampion(
        f"no model of catalogue {catalog} is champion yet",
        where=str(home.models(catalog)),
        hint=f"aisle models promote {catalog} {candidates[-1]} makes the last one champion; aisle models list has all",
    )


def published(home: Home, catalog: str) -> pl.DataFrame:
    """All events of a catalogue's models, as last recorded."""
    return tables.read(home.table(catalog, "models"), "models", recorded(home, catalog).get("models"))


def get(home: Home, catalog: str, events: pl.DataFrame, version: str) -> ModelRecord:
    """One registered model.

    Raises:
        UnknownModel: no such version.
    """
    known = events["version"].unique().to_list()
    if version not in known:
        raise UnknownModel(f"catalogue {catalog} has no model {version}", hint=did_you_mean(version, known))
    return _record(home, catalog, events, version)


def _champion(home: Home, catalog: str, events: pl.DataFrame) -> ModelRecord | None:
    crowned = events.filter(pl.col("event").is_in(CROWNING)).sort("noted_at")
    return None if crowned.is_empty() else _record(home, catalog, events, crowned["version"][-1])


def _record(home: Home, catalog: str, events: pl.DataFrame, version: str) -> ModelRecord:
    row = events.filter((pl.col("version") == version) & (pl.col("event") == "trained")).row(-1, named=True)
    folder = home.models(catalog) / version
    return ModelRecord(catalog, version, row["digest"], row["recipe"], folder, json.loads(row["metrics"]))
