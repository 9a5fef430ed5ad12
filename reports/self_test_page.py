"""The self-test's table as an HTML page, and the same for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from reports import page
from reports.self_test import FALSE_ALARMS, POWER, Trial

__all__ = ["met", "said", "write"]


def write(
    folder: Path,
    trials: Sequence[Trial],
    *,
    catalog: str,
    run_id: str,
    model_version: str,
    pool: int,
    sizes: Sequence[int],
    seed: int,
) -> Path:
    """Write self_test.html, and the same as .json; returns the page.

    Args:
        folder: where to; made when it is not there.
        trials: what was tried.
        catalog: name of the catalogue.
        run_id: the run that took the sample.
        model_version: whose answers and knowledge were used.
        pool: products that were drawn from.
        sizes: batches that were asked for; those that the pool is too small for were left out.
        seed: of everything that was drawn.
    """
    made_at = datetime.now(UTC)
    machine = {
        "kind": "self_test",
        "catalog": catalog,
        "run_id": run_id,
        "time": made_at.isoformat(timespec="seconds"),
        "model_version": model_version,
        "verdict": said(trials),
        "tone": "good" if met(trials) else "review",
        "pool": pool,
        "seed": seed,
        "trials": [trial.as_dict() for trial in trials],
    }
    page.write_text(folder / "self_test.json", json.dumps(machine, ensure_ascii=False, indent=1) + "\n")
    return page.write(
        folder / "self_test.html",
        "self_test.html",
        title=f"Drift detectors of {catalog}, tested",
        facts=[("Catalogue", catalog), ("Model", model_version), ("Run", run_id), ("Products", page.number(pool))],
        made_at=made_at,
        verdict=said(trials),
        met=met(trials),
        unchanged=[trial for trial in trials if trial.drift is None],
        changed=[trial for trial in trials if trial.drift is not None],
        left_out=[size for size in sizes if size > 10 * pool],
        small=[size for size in sizes if pool / 2 < size <= 10 * pool],
        pool=pool,
        seed=seed,
        false_alarms=FALSE_ALARMS,
        power=POWER,
    )


def met(trials: Sequence[Trial]) -> bool:
    """Whether all goals were reached; not where either half could not be tried at all."""
    tried = {trial.drift is None for trial in trials}
    return tried == {True, False} and all(trial.met for trial in trials)


def said(trials: Sequence[Trial]) -> str:
    """The outcome in a sentence."""
    unchanged = [trial for trial in trials if trial.drift is None]
    changed = [trial for trial in trials if trial.drift is not None]
    quiet, found = sum(trial.met for trial in unchanged), sum(trial.met for trial in changed)
    return (
        f"few enough false alarms in {quiet} of {len(unchanged)} ways that products come, "
        f"drift found in {found} of {len(changed)} ways that it was put in"
    )
