"""What docs/questions.md says of measurements: a few rows of benchmarks/results; None where one has not been made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs import costs

__all__ = ["found"]

RESULTS = costs.BULK.parent
RECIPE = "linear"
"""The default one: what people get who choose nothing."""


def found(results: Path = RESULTS) -> dict[str, Any]:
    """The values of the template: `bulk`, `cores`, `single`, `api` with `api_goals`, and `drift`."""
    bulk, single, api = (_content(results, name) for name in ("bulk", "single", "api"))
    largest = costs.measured(results / "bulk.json").get(RECIPE)
    return {
        "bulk": largest and {"recipe": RECIPE, "rate": largest.rate, "peak_mib": largest.peak_mib},
        "cores": bulk and bulk["machine"]["cores_used"],
        "single": single and _row(single, f"Aisle {RECIPE}, label and reasons") | {"recipe": RECIPE},
        "api": api
        and [row for row in api["rows"] if "requests" in row and row.get("p50_ms") and "10 minutes" not in row["way"]],
        "api_goals": api and _goals(api),
        "drift": _drift(_content(results, "drift")),
    }


def _content(results: Path, name: str) -> dict[str, Any] | None:
    file = results / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _row(content: dict[str, Any], way: str) -> dict[str, Any]:
    (row,) = [row for row in content["rows"] if row["way"] == way]
    return dict(row)


def _goals(content: dict[str, Any]) -> str:
    """Which goals were missed, in one sentence."""
    missed = [f"{goal['goal']} (reached: {goal['reached']})" for goal in content["goals"] if not goal["met"]]
    if not missed:
        return "All of its goals were met ([all rows](../benchmarks/results/api.md))."
    return f"Goals that were missed ([all rows](../benchmarks/results/api.md)): {'; '.join(missed)}."


def _drift(content: dict[str, Any] | None) -> dict[str, Any] | None:
    """How often detectors were right on myntra, at the worst."""
    if content is None:
        return None
    tried = [row for row in content["rows"] if row["way"].startswith("myntra, ") and row.get("trials")]
    nothing = [row for row in tried if ": nothing" in row["way"]]
    put_in = [row for row in tried if ": nothing" not in row["way"]]

    def worst(comparison: str) -> float:
        return max(row["share"] for row in nothing if row["way"].startswith(f"myntra, {comparison}:"))

    return {
        "ways": len(put_in),
        "power": min(row["share"] for row in put_in),
        "false_catalogue": worst("catalogue"),
        "false_arrivals": worst("arrivals"),
    }
