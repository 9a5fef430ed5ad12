"""Training runs and trials in MLflow: when MLFLOW_TRACKING_URI names a store, and only then.

A store that fails never stops a run: it is told once, and the run goes on.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.runs import Run
from warehouse.trials import TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Tracked", "of_trial", "track"]

log = logging.getLogger("aisle.tracking")

MOST_CHARS = 6_000
"""Longest value of a parameter that MLflow takes."""

MOST_TOLD = 300
"""Characters of a failure that the warning repeats: some hold a whole page of HTML."""


@dataclass(frozen=True)
class Tracked:
    """One MLflow run.

    Attributes:
        name: what people see.
        params: dotted parameter → value.
        metrics: name → number; what is None is left out.
        tags: name → text.
        texts: file → content.
        ended_ms: when, in milliseconds since 1970; None for now.
        took_s: seconds that it took.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, float | None]
    tags: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)
    ended_ms: int | None = None
    took_s: float = 0.0


def of_trial(run: Run, trial: TrialRecord) -> Tracked:
    """A trial of a search."""
    names = ("accuracy", "macro_f1", "weighted_f1", "fit_s", "rows", "folds", "folds_scored")
    return Tracked(
        name=f"{run.run_id} trial {trial.trial}",
        params={**trial.params, "seed": trial.seed},
        metrics={name: getattr(trial, name) for name in names},
        tags={
            "kind": "trial",
            "catalog": run.catalog,
            "run_id": run.run_id,
            "recipe": trial.recipe,
            "data_digest": trial.data_digest,
        },
        ended_ms=round(trial.tried_at.timestamp() * 1000),
        took_s=trial.fit_s,
    )


def track(catalog: str, runs: Sequence[Tracked]) -> None:
    """Log runs to the experiment `aisle/<catalog>` of the store that MLFLOW_TRACKING_URI names; else do nothing."""
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        return
    try:
        client = _client()
        experiment = _experiment(client, f"aisle/{catalog}")
        _log_all(client, experiment, runs)
    except ModuleNotFoundError as error:
        log.warning("MLFLOW_TRACKING_URI is set, but %s is not installed: pip install 'aisle[mlflow]'", error.name)
    except Exception as error:  # noqa: BLE001 - whatever the store has: the run is worth more than its log
        said = " ".join(_bare(str(error)).split())[:MOST_TOLD]
        log.warning("not logged to MLflow, the run itself is kept: MLFLOW_TRACKING_URI=%s: %s", _bare(address), said)


def _log_all(client: MlflowClient, experiment: str, runs: Sequence[Tracked]) -> None:
    """Log runs one by one; what the store refuses of one stops no other.

    Raises:
        Exception: the first that was met, once all others are logged; at once when the store no longer answers.
    """
    first: Exception | None = None
    for one in runs:
        try:
            _log(client, experiment, one)
        except Exception as error:  # noqa: BLE001 - whatever the store has against this one
            first = first or error
            client.get_experiment(experiment)  # fails when the store is gone: then it is not waited for again
    if first is not None:
        raise first


def _client() -> MlflowClient:
    # Before MLflow is imported: it reads them then. Its own patience with a server that is gone is many minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow import MlflowClient

    # One warning of our own says what failed: not each retry.
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
    return MlflowClient()


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _log(client: MlflowClient, experiment: str, one: Tracked) -> None:
    from mlflow.entities import Metric, Param, RunTag

    tags = {f"aisle.{key}": value for key, value in one.tags.items()}
    started = None if one.ended_ms is None else one.ended_ms - round(one.took_s * 1000)
    run_id = client.create_run(experiment, start_time=started, run_name=one.name).info.run_id
    try:
        at = one.ended_ms or client.get_run(run_id).info.start_time
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, at, 0) for key, value in one.metrics.items() if value is not None],
            params=[Param(key, str(value)[:MOST_CHARS]) for key, value in one.params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        for name, text in one.texts.items():
            client.log_text(run_id, text, name)
    except BaseException:
        with suppress(Exception):  # what failed first is what is told
            client.set_terminated(run_id, "FAILED", end_time=one.ended_ms)
        raise
    client.set_terminated(run_id, end_time=one.ended_ms)


def _bare(text: str) -> str:
    """A text without the names and passwords that may stand in its addresses."""
    return re.sub(r"//[^/\s@]+@", "//", text)
