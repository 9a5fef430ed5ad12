"""Models of a catalogue: what happened to each, which one is champion, and where its artifact lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import polars as pl

from core.errors import ModelError, NoChampion, UnknownModel, did_you_mean
from warehouse import tables
from warehouse.home import Home
from warehouse.recorded import recorded
from warehouse.runs import Run

CROWNING = ("promoted", "rolled_back")
"""Events after which a version is champion."""

STATUS = {"trained": "challenger", "promoted": "champion", "rolled_back": "champion"}
"""What the last event of a version makes it; the other events name the status themselves."""


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
    """Write down that a model was promoted, refused, rejected or rolled back to."""
    _append(run, event, version, why, {"decided_by": by})


def overrule(run: Run, event: str, version: str | None, why: str) -> ModelRecord:
    """A person's decision about a model: `promoted`, `rejected`, or `rolled_back` (by default to the champion before).

    Raises:
        UnknownModel: no such version, or no earlier champion.
        ModelError: the champion cannot be rejected, nor promoted again.
    """
    now = champion(run)
    current = None if now is None else now.version
    chosen = get(run.home, run.catalog, run.read("models"), version or _champion_before(run, current))
    if chosen.version == current and event == "rejected":
        raise ModelError(
            f"{chosen.version} is the champion: somebody has to answer",
            hint="first make another one champion: aisle models rollback, or aisle models promote",
        )
    if chosen.version == current:
        raise ModelError(
            f"{chosen.version} is the champion already", hint="nothing to do; aisle models list shows them all"
        )
    note(run, event, chosen.version, why, by="person")
    return chosen


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
        raise NoChampion(
            f"there is no model of catalogue {run.catalog} yet", hint=f"train one: aisle train {run.catalog}"
        )
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
    found = _champion(home, catalog, published(home, catalog))
    if found is None:
        raise NoChampion(
            f"there is no model of catalogue {catalog} yet",
            where=str(home.models(catalog)),
            hint=f"train one: aisle run {catalog} SOURCE, or aisle train {catalog} after aisle ingest {catalog} SOURCE",
        )
    return found


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
