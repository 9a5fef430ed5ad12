"""The plain way to see drift: Evidently over every row of both sides, as its examples do."""

from __future__ import annotations

from typing import Any

import polars as pl

from benchmarks.measure import Work

__all__ = ["compare"]


def compare(taught: str, source: str, columns: dict[str, Any]) -> Work:
    """Read both files and run Evidently's drift preset on the first text's length and the keywords; write its page."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    def frame(path: str) -> Any:
        rows = pl.scan_ndjson(path, infer_schema_length=1_000)
        length = pl.col(columns["text"][0]).cast(pl.String).str.len_chars().alias("length")
        return rows.select(length, *(pl.col(name).cast(pl.String) for name in columns["keyword"])).collect().to_pandas()

    def work() -> dict[str, Any]:
        definition = DataDefinition(numerical_columns=["length"], categorical_columns=columns["keyword"])
        sides = [Dataset.from_pandas(frame(path), data_definition=definition) for path in (source, taught)]
        snapshot = Report([DataDriftPreset()]).run(*sides)
        return {"characters": len(snapshot.get_html_str(as_iframe=False))}

    return work
