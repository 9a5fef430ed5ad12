"""The evaluation page of one model: what it is worth, where it is weak, and when its answers may be used unseen.

`evaluation.html` is for eyes and opens offline; `evaluation.json` beside it says the same to machines, and
`label_issues.csv` lists the training products whose label looks wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from classifier.bootstrap import METRICS, wilson
from reports import evaluation_charts, findings, page
from reports.findings import Findings

__all__ = ["Metrics", "Rows", "write"]

Metrics: TypeAlias = Mapping[str, Any]
"""rows, accuracy, macro_f1, weighted_f1, labels; for paths also levels (name → the same)."""

Rows: TypeAlias = pl.DataFrame | Sequence[Mapping[str, Any]]
"""A table, as a frame or as records."""

# So many labels stand open in a table, fewer where there is a table for each level; the others are folded away.
SHOWN_LABELS = 25
SHOWN_OF_LEVEL = 10
SHOWN_CONFUSIONS = 20
# A label with fewer products is not called weak: one mistake would decide.
LEAST_SUPPORT = 10
NAMED_WEAK = 3

SHOWN_ISSUES = 25

_BASELINES = {
    "majority": "always the commonest label",
    "plain_tfidf": "plain TF-IDF and a linear SVM",
    "asos-prototype": "the published prototype (asos-prototype)",
    "newsgroups-prototype": "the published prototype (newsgroups-prototype)",
}
_FACTS = {
    "rows": "trained on",
    "holdout_rows": "held out",
    "train_s": "seconds of training",
    "peak_mib": "most memory held by then, in MiB",
    "data_digest": "digest of the training data",
    "version": None,  # these stand in the head of the page
    "run_id": None,
}


def write(
    folder: Path,
    *,
    catalog: str,
    model_version: str,
    recipe: str,
    metrics: Metrics,
    baselines: Mapping[str, Metrics],
    confusions: Rows,
    thresholds: pl.DataFrame,
    reliability: pl.DataFrame | None,
    facts: Mapping[str, Any],
    found: Findings | None = None,
    made_at: datetime | None = None,
) -> Path:
    """Write `evaluation.html` and `evaluation.json` into `folder`, which is made if it is not there.

    Args:
        folder: where to.
        catalog: name of the catalogue.
        model_version: the model.
        recipe: how it was trained.
        metrics: on products that it had not seen.
        baselines: metrics of what is easy to reach on the same products, by name.
        confusions: true, predicted, count, examples (titles); most frequent first.
        thresholds: label, threshold (null: always review), support, precision, coverage, reason.
        reliability: level (name, top first), bin, confidence (mean), accuracy, count; None where there is none.
        facts: about the training: rows, holdout_rows, train_s, data_digest, run_id and whatever else is worth knowing.
        found: what was found beyond the metrics.
        made_at: UTC; now when not given.

    Returns:
        The page.
    """
    made_at = made_at or datetime.now(UTC)
    found = found or Findings()
    reliable = _reliable(reliability, metrics)
    mistakes = _records(confusions)
    levels = _levels(metrics, found.intervals)
    about = {
        "kind": "evaluation",
        "catalog": catalog,
        "run_id": facts.get("run_id"),
        "time": made_at.isoformat(timespec="seconds"),
        "verdict": _verdict(metrics),
        "tone": "plain",
        "model_version": model_version,
        "recipe": recipe,
    }
    # Of out-of-fold metrics, accuracy alone has an interval.
    accuracy = found.intervals.get("accuracy") or wilson(metrics.get("accuracy"), metrics.get("rows", 0))
    machine = about | {
        "metrics": metrics,
        "accuracy_interval": accuracy,
        "calibration_error": metrics.get("calibration_error"),
        "baselines": baselines,
        "confusions": mistakes,
        "thresholds": thresholds.to_dicts(),
        "reliability": reliable,
        "facts": facts,
        **findings.for_machines(found),
    }
    text = json.dumps(_plain(machine), ensure_ascii=False, indent=1, allow_nan=False, default=str)
    page.write_text(folder / "evaluation.json", text + "\n")
    issues = found.label_issues
    if issues is not None:
        page.write_text(folder / "label_issues.csv", issues.table.write_csv())
    head = (("Catalogue", catalog), ("Model", model_version), ("Recipe", recipe), ("Run", about["run_id"]))
    return page.write(
        folder / "evaluation.html",
        "evaluation.html",
        title=f"Evaluation of {catalog}, model {model_version}",
        facts=[(name, value) for name, value in head if value is not None],
        made_at=made_at,
        rows=metrics.get("rows", 0),
        interval=accuracy,
        out_of_fold=facts.get("holdout_rows") == 0,
        compared=_compared(metrics, baselines, {**found.intervals, "accuracy": accuracy}),
        levels=levels,
        hierarchical=metrics.get("hierarchical"),
        shown=SHOWN_LABELS if len(levels) == 1 else SHOWN_OF_LEVEL,
        least=LEAST_SUPPORT,
        confusions=mistakes[:SHOWN_CONFUSIONS],
        confusion_count=len(mistakes),
        reliable=reliable,
        accept=_accept(thresholds),
        known=_known(facts),
        said=machine["findings"],
        found=found,
        accepted=machine["accepted"],
        charts=evaluation_charts.draw(found),
        said_of=findings.study_sentences(found),
        issues=[] if issues is None else issues.table.head(SHOWN_ISSUES).to_dicts(),
    )


def _verdict(metrics: Metrics) -> str:
    if not metrics.get("rows"):
        return "not evaluated"
    accuracy, macro_f1 = (page.decimal(metrics.get(name)) for name in ("accuracy", "macro_f1"))
    return f"accuracy {accuracy}, macro F1 {macro_f1} on {page.number(metrics['rows'])} products"


def _compared(metrics: Metrics, baselines: Mapping[str, Metrics], intervals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model and the baselines, as rows of one table."""
    named = [("this model", metrics), *((_BASELINES.get(name, name), baseline) for name, baseline in baselines.items())]
    rows: list[dict[str, Any]] = [
        {"name": name, **{key: found.get(key) for key in METRICS}, "intervals": {}} for name, found in named
    ]
    rows[0]["intervals"] = intervals
    return rows


def _levels(metrics: Metrics, intervals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry a level of the label, each with its labels, largest first; one nameless entry for a plain label."""
    levels: Mapping[str | None, Metrics] = metrics.get("levels") or {None: metrics}
    found = []
    for name, level in levels.items():
        labels = [{"label": label, **values} for label, values in level.get("labels", {}).items()]
        labels.sort(key=lambda row: (-row["support"], row["label"]))
        enough = [row for row in labels if row["support"] >= LEAST_SUPPORT]
        weak = (
            sorted(enough, key=lambda row: (row["f1"], row["label"]))[:NAMED_WEAK] if len(enough) > NAMED_WEAK else []
        )
        ends = intervals.get("levels", {}).get(name, {})
        found.append({**level, "name": name, "labels": labels, "weak": weak, "intervals": ends})
    return found


def _reliable(reliability: pl.DataFrame | None, metrics: Metrics) -> list[dict[str, Any]]:
    """For each level the bins of its plot, with the interval of their accuracy and their size beside the largest."""
    if reliability is None:
        return []
    found = []
    for (level,), bins in reliability.filter(pl.col("count") > 0).group_by("level", maintain_order=True):
        most = max(bins["count"].to_list())
        rows = [
            {**row, "interval": wilson(row["accuracy"], row["count"]), "size": row["count"] / most}
            for row in bins.drop("level").sort("confidence").iter_rows(named=True)
        ]
        error = metrics.get("levels", {}).get(level, metrics).get("calibration_error")
        found.append({"level": level, "calibration_error": error, "bins": rows})
    return found


def _accept(thresholds: pl.DataFrame) -> list[dict[str, Any]]:
    """What becomes of the labels of each level, the first level first."""
    if "level" not in thresholds.columns:
        return [_accept_at(thresholds)]
    return [_accept_at(thresholds.filter(pl.col("level") == level)) for level in thresholds["level"].unique().sort()]


def _accept_at(thresholds: pl.DataFrame) -> dict[str, Any]:
    """Labels by what becomes of them, those that are accepted first, and what share of predictions that is."""
    accepted = thresholds.filter(pl.col("threshold").is_not_null())
    predicted = int(thresholds["support"].sum())
    used = float((accepted["support"] * accepted["coverage"]).sum())
    return {
        "accepted": accepted.sort(["support", "label"], descending=[True, False]).to_dicts(),
        "review": thresholds.filter(pl.col("threshold").is_null())
        .sort(["support", "label"], descending=[True, False])
        .to_dicts(),
        "coverage": used / predicted if predicted else None,
        "predicted": predicted,
    }


def _known(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Facts about the training, named for people."""
    named = ((_FACTS.get(key, key.replace("_", " ")), value) for key, value in facts.items() if value is not None)
    return [(name, _said(value)) for name, value in named if name is not None]


def _said(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return page.number(value, 0 if isinstance(value, int) else 1)


def _records(rows: Rows) -> list[dict[str, Any]]:
    return rows.to_dicts() if isinstance(rows, pl.DataFrame) else [dict(row) for row in rows]


def _plain(value: Any) -> Any:
    """The same without NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
