"""What docs/analysis.md says of one evaluation: figures of its evaluation.json, without any product.

Product texts stay out: the real sets may be used, and are not ours to hand on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from catalogs import registry
from catalogs.product import PATH_SEPARATOR
from classifier.thresholds import rows_needed
from reports.evaluation import LEAST_SUPPORT

__all__ = ["condensed"]

_METRICS = ("accuracy", "macro_f1", "weighted_f1")
_MOST_LABELS = 8
_MOST_CONFUSIONS = 6
_MOST_PAIRS = 3
# How classifier.thresholds words why a node is not accepted.
_LACKS: Mapping[str, Callable[[str], bool]] = {
    "never_predicted": lambda reason: reason.startswith("never predicted"),
    "too_few": lambda reason: "without an error" in reason,
    "unproven": lambda reason: reason.startswith("at best"),
}


def condensed(evaluation: Mapping[str, Any], issues: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures.

    Args:
        evaluation: content of an evaluation.json.
        issues: rows of the label_issues.csv beside it; none where the labels were not judged.
    """
    metrics, facts = evaluation["metrics"], evaluation["facts"]
    accept = registry.load(evaluation["catalog"]).accept
    return {
        "recipe": evaluation["recipe"],
        "rows": facts["rows"],
        "holdout_rows": facts["holdout_rows"],
        "metrics": _scores(metrics),
        "intervals": {name: evaluation["intervals"].get(name) for name in _METRICS},
        "baselines": {name: _scores(found) for name, found in evaluation["baselines"].items()},
        "calibration_error": evaluation["calibration_error"],
        "levels": [{"name": name, **_scores(level)} for name, level in metrics.get("levels", {}).items()],
        "hierarchical": metrics.get("hierarchical"),
        "labels": _labels(metrics, evaluation["unmeasured_labels"]),
        "catch_all": _catch_all(metrics),
        "errors": _errors(metrics, evaluation["confusions"]),
        "precision_target": evaluation["precision_target"],
        "rows_needed": rows_needed(evaluation["precision_target"], accept.confidence_level),
        "accepted": evaluation["accepted"],
        "thresholds": _thresholds(evaluation["thresholds"]),
        "coverage_at": {level["level"]: level["at"] for level in evaluation["precision_coverage"]},
        "learning_curve": [
            {key: row[key] for key in ("share", "rows", "macro_f1", "gain")}
            for row in evaluation["learning_curve"]["rows"]
        ],
        "label_issues": _issues(evaluation["label_issues"], issues),
        "findings": evaluation["findings"],
    }


def _scores(metrics: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: metrics[name] for name in _METRICS}
    return found | ({"labels": len(metrics["labels"])} if "labels" in metrics else {})


def _labels(metrics: Mapping[str, Any], unmeasured: Sequence[str]) -> dict[str, Any]:
    """The labels of the whole path: how many, what the small ones score, and which of the others are weakest."""
    labels = [{"label": label, **found} for label, found in _whole(metrics).items()]
    held = [row for row in labels if row["support"]]
    large = [row for row in held if row["support"] >= LEAST_SUPPORT]
    small = [row for row in held if row["support"] < LEAST_SUPPORT]
    return {
        "least_support": LEAST_SUPPORT,
        "held": len(held),
        "unmeasured": len(unmeasured),
        "large": len(large),
        "large_macro_f1": _mean(row["f1"] for row in large),
        "small": len(small),
        "small_rows": sum(row["support"] for row in small),
        "small_macro_f1": _mean(row["f1"] for row in small),
        "never_right": sum(row["f1"] == 0 for row in held),
        "never_right_small": sum(row["f1"] == 0 for row in small),
        "weakest": sorted(large, key=lambda row: (row["f1"], row["label"]))[:_MOST_LABELS],
    }


def _whole(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    if "labels" in metrics:
        found: Mapping[str, Any] = metrics["labels"]
        return found
    return list(metrics["levels"].values())[-1]["labels"]  # type: ignore[no-any-return]  # of the last level: leaves


def _errors(metrics: Mapping[str, Any], confusions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mistakes on the hold-out: how many, the most frequent, and for paths what share is right on the first level."""
    count = round(metrics["rows"] * (1 - metrics["accuracy"]))
    listed = [{key: row[key] for key in ("true", "predicted", "count", "share")} for row in confusions]
    levels = list(metrics.get("levels", {}).values())
    return {
        "count": count,
        "listed": sum(row["count"] for row in listed),
        "top": listed[:_MOST_CONFUSIONS],
        "right_above": 1 - (1 - levels[0]["accuracy"]) * metrics["rows"] / count if levels and count else None,
    }


def _catch_all(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Labels called “All …” of a level with others: how they do beside the rest."""
    held = {label: found for label, found in _whole(metrics).items() if found["support"]}
    caught = {label for label in held if label.rpartition(PATH_SEPARATOR)[2].startswith("All ")}
    if not caught or "levels" not in metrics:
        return None
    return {
        "labels": len(caught),
        "rows": sum(held[label]["support"] for label in caught),
        "macro_f1": _mean(held[label]["f1"] for label in caught),
        "others_macro_f1": _mean(found["f1"] for label, found in held.items() if label not in caught),
    }


def _thresholds(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each level: nodes that are accepted, and why the others are not."""
    found = []
    for level in sorted({row["level"] for row in rows}):
        own = [row for row in rows if row["level"] == level]
        accepted = sorted(
            (row for row in own if row["threshold"] is not None), key=lambda row: (-row["support"], row["label"])
        )
        refused = [row for row in own if row["threshold"] is None]
        why = {kind: [row for row in refused if fits(row["reason"])] for kind, fits in _LACKS.items()}
        found.append(
            {
                "level": level,
                "labels": len(own),
                "accepted": [
                    {key: row[key] for key in ("label", "support", "coverage")} for row in accepted[:_MOST_LABELS]
                ],
                "accepted_count": len(accepted),
                "refused_count": len(refused),
                "refused": {kind: len(several) for kind, several in why.items()},
                "refused_support": sum(row["support"] for row in refused) / max(1, sum(row["support"] for row in own)),
                "unproven": [
                    {key: row[key] for key in ("label", "support", "reason")}
                    for row in sorted(why["unproven"], key=lambda row: (-row["support"], row["label"]))[:_MOST_LABELS]
                ],
            }
        )
    return found


def _issues(judged: Mapping[str, Any], issues: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many labels look wrong, and which exchanges are the most frequent."""
    pairs = Counter((row["given"], row["suggested"]) for row in issues)
    return {
        **{key: judged[key] for key in ("judged", "count", "level")},
        "share": judged["count"] / judged["judged"] if judged["judged"] else None,
        "pairs": [
            {"given": given, "suggested": suggested, "count": count}
            for (given, suggested), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_PAIRS]
        ],
    }


def _mean(values: Any) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
