"""The model card: what a person should know before using a model, written by every save."""

from __future__ import annotations

from typing import Any

import polars as pl

from classifier.thresholds import reached

__all__ = ["render_card"]


def render_card(content: dict[str, Any], thresholds: pl.DataFrame) -> str:
    """Markdown from the manifest's content and the thresholds."""
    spec, recipe, accept = content["catalog"], content["recipe"], content["catalog"]["accept"]
    fields = ", ".join(f"{field['name']} ({field['kind']})" for field in spec["fields"])
    lines = [
        f"# Model of the catalogue `{spec['name']}`",
        "",
        f"{spec['title']}. Licence of the data: {spec['licence']}.",
        "",
        "| | |",
        "|---|---|",
        f"| Recipe | {recipe['name']} |",
        f"| Trained on | {content['rows']:,} labelled products |",
        f"| Reads | {fields} |",
        f"| Never reads | {', '.join(spec['forbidden']) or 'nothing declared'} |",
        f"| Labels | {len(content['labels']):,} |",
        *_metric_rows("Out of fold", content["out_of_fold"]),
        *_metric_rows("Hold-out", content["facts"].get("metrics"), content["facts"].get("intervals")),
        *_cost_rows(content["facts"]),
        "",
        *_findings(content["facts"].get("findings")),
        "## Use and limits",
        "",
        "A linear model on the tokens of the fields above. It knows the labels below and no others: a product that",
        "belongs nowhere gets the nearest of them, most often with a low confidence. Confidence is calibrated on",
        "products like those it was trained on; when the catalogue drifts, so does its meaning.",
        "",
        f"Predictions are accepted per label, where precision {accept['precision_target']:.2f} is shown at",
        f"{accept['confidence_level']:.0%}: {reached(thresholds)}.",
        "The others go to review.",
        "",
        "| Label | Accepted from | Predicted out of fold | Why |",
        "|---|---|---|---|",
        *(_threshold_row(row) for row in thresholds.iter_rows(named=True)),
        "",
    ]
    return "\n".join(lines)


def _metric_rows(name: str, metrics: dict[str, Any] | None, intervals: dict[str, Any] | None = None) -> list[str]:
    if not metrics:
        return []
    shown = {
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "weighted_f1": "weighted F1",
        "calibration_error": "calibration error",
    }
    values = [
        f"{title} {metrics[key]:.4f}{_between((intervals or {}).get(key))}"
        for key, title in shown.items()
        if metrics.get(key) is not None
    ]
    hierarchical = metrics.get("hierarchical")
    if hierarchical:
        ends = (intervals or {}).get("hierarchical", {}).get("f1")
        values.append(f"hierarchical F1 {hierarchical['f1']:.4f}{_between(ends)}")
    return [f"| {name} | {', '.join(values)} ({metrics['rows']:,} rows) |"] if values else []


def _between(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" ({ends[0]:.4f} to {ends[1]:.4f})"


def _cost_rows(facts: dict[str, Any]) -> list[str]:
    if facts.get("train_s") is None:
        return []
    memory = "" if facts.get("peak_mib") is None else f", {facts['peak_mib']:,.0f} MiB of memory at most"
    return [f"| Training | {facts['train_s']:.1f} s{memory} |"]


def _findings(sentences: list[str] | None) -> list[str]:
    if not sentences:
        return []
    return ["## What its evaluation found", "", *(f"- {_plain(sentence)}" for sentence in sentences), ""]


def _plain(text: str) -> str:
    """Text of products and labels as Markdown shows it as it is."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _threshold_row(row: dict[str, Any]) -> str:
    threshold = "never" if row["threshold"] is None else f"{row['threshold']:.3f}"
    return f"| {_plain(row['label'])} | {threshold} | {row['support']:,} | {row['reason']} |"
