"""The drift report: what a comparison found as an HTML page, and the same for machines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports import page, workspace
from reports.drift import FALSE_ALARMS, DriftResult, beyond, mix_or_words, title
from reports.increments import DRAWN
from reports.outliers import distance_chart, place_chart

__all__ = ["write"]

_COMPARED = {
    "catalogue": "current products that the model cannot have learnt from, against those of when it was trained",
    "arrivals": "the newest arrivals against the arrivals before them",
}
_TITLES = {"catalogue": "whole catalogue", "arrivals": "arrivals"}
_METHODS = {
    "jensenshannon": "Jensen-Shannon distance",
    "hellinger": "Hellinger distance",
    "psi": "population stability index",
    "wasserstein": "Wasserstein distance",
    "new_share": "share of what is new",
}


def write(
    folder: Path,
    result: DriftResult,
    *,
    catalog: str,
    run_id: str | None = None,
    model_version: str | None = None,
    made_at: datetime | None = None,
) -> Path:
    """Write drift_<comparison>.html, the same as .json, and Evidently's report beside it and for its UI.

    Args:
        folder: where to; made when it is not there.
        result: what to show.
        catalog: name of the catalogue.
        run_id: the run that compared.
        model_version: whose reference and predictions these are.
        made_at: UTC; now when not given.

    Returns:
        The page.
    """
    made_at = made_at or datetime.now(UTC)
    stem = f"drift_{result.comparison}"
    evidently = None
    if result.report is not None:
        evidently = page.write_text(folder / f"{stem}_evidently.html", result.report.html()).name
        known = {"catalog": catalog, "run_id": run_id, "model_version": model_version}
        workspace.keep(folder, result.report, comparison=result.comparison, made_at=made_at, about=known)
    about = {"kind": "drift", "catalog": catalog, "run_id": run_id, "time": made_at.isoformat(timespec="seconds")}
    machine = {**about, **_for_machines(result), "model_version": model_version, "evidently": evidently}
    page.write_text(folder / f"{stem}.json", json.dumps(machine, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    facts = [("Catalogue", catalog), ("Model", model_version), ("Run", run_id), ("Seed", result.seed)]
    rows = _for_eyes(result)
    return page.write(
        folder / f"{stem}.html",
        "drift.html",
        title=f"Drift of {catalog}: {_TITLES[result.comparison]}",
        facts=[(name, value) for name, value in facts if value is not None],
        made_at=made_at,
        result=result,
        compared=_COMPARED[result.comparison],
        moved=sorted((row for row in rows if row["drifted"]), key=lambda row: -row["score"] / row["threshold"]),
        rows=rows,
        beyond=beyond,
        mix_or_words=mix_or_words(result.scores),
        evidently=evidently,
        false_alarms=FALSE_ALARMS,
        drawn=DRAWN,
        distances=None if result.outliers is None else distance_chart(result.outliers),
        map=None if result.outliers is None else place_chart(result.outliers),
    )


def _for_machines(result: DriftResult) -> dict[str, Any]:
    scores = zip(result.scores.to_dicts(), result.changes, strict=True)
    return {
        "verdict": _verdict(result),
        "tone": "bad" if result.drifted else "good" if result.scores["drifted"].count() else "quiet",
        "comparison": result.comparison,
        "drifted": result.drifted if result.scores["drifted"].count() else None,
        "judged": result.judged,
        "summary": result.summary,
        "rows": {"reference": result.rows[0], "current": result.rows[1]},
        "seed": result.seed,
        "notes": result.notes,
        "outliers": None if result.outliers is None else result.outliers.as_dict(),
        "scores": [{**row, "change": change} for row, change in scores],
    }


def _for_eyes(result: DriftResult) -> list[dict[str, Any]]:
    scores = zip(result.scores.to_dicts(), result.changes, strict=True)
    return [{**row, "said": said, "title": title(row), "how": _METHODS[row["method"]]} for row, said in scores]


def _verdict(result: DriftResult) -> str:
    if not result.judged or not result.scores["drifted"].count():
        return page.NO_VERDICT
    moved, compared = int(result.scores["drifted"].sum()), result.scores["drifted"].count()
    return f"drift in {moved} of {compared} measures" if result.drifted else f"no drift in {compared} measures"
