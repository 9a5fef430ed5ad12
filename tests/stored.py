"""A small catalogue kept through the real warehouse, for tests of what the warehouse promises."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from catalogs import registry
from catalogs.spec import CatalogSpec
from warehouse import policy, scoring
from warehouse import registry as models
from warehouse.ingest import Stage, Staged, staged_folder, store
from warehouse.registry import Trained
from warehouse.runs import Run, open_run

SHELVES = Path(__file__).parent / "catalogs"
"""For AISLE_CATALOGS."""

Row = tuple[str, str, str | None]
"""product_id, title, label."""


def spec(**changes: object) -> CatalogSpec:
    """The catalogue tests/catalogs/shelf.toml, with some keys changed."""
    return registry.check(SHELVES / "shelf.toml").model_copy(update=changes)


def frame(rows: list[Row]) -> pl.DataFrame:
    """Rows as decided canonical products."""
    return pl.DataFrame(
        {
            "source_file": ["shelf.jsonl"] * len(rows),
            "source_row": list(range(1, len(rows) + 1)),
            "product_id": [row[0] for row in rows],
            "known_path": [None if row[2] is None else [row[2]] for row in rows],
            "title": [row[1] for row in rows],
            "text_hash": [f"t:{row[1]}" for row in rows],
            "feature_hash": [f"f:{row[1]}" for row in rows],
            "row_hash": [f"r:{row[1]}:{row[2]}" for row in rows],
        },
        schema_overrides={"source_row": pl.Int64, "known_path": pl.List(pl.String)},
    )


@dataclass
class LengthModel:
    """A model simple enough to know its answers: long titles are 'Books', short ones 'Toys'. Notes what it is asked."""

    asked: list[str] = field(default_factory=list)
    threads: list[int | None] = field(default_factory=list)

    def predict(self, rows: pl.DataFrame, *, threads: int | None = None) -> pl.DataFrame:
        """Answers in the form that scoring stores."""
        self.asked += rows["title"].to_list()
        self.threads.append(threads)
        label = pl.when(pl.col("title").str.len_chars() > 5).then(pl.lit("Books")).otherwise(pl.lit("Toys"))
        confidence = pl.when(pl.col("title").str.contains("?", literal=True)).then(0.5).otherwise(0.9)
        return rows.select(
            label.alias("label"),
            pl.concat_list(label).alias("label_path"),
            confidence.alias("confidence"),
            pl.concat_list(confidence).alias("confidence_path"),
            pl.lit("Toys").alias("runner_up"),
            pl.lit([{"token": "t", "field": "title", "weight": 1.0}]).alias("reasons"),
        )


def ingest(run: Run, rows: list[Row], *, bad: int = 0, declared: CatalogSpec | None = None) -> None:
    """Store rows and some unreadable lines behind them."""
    store(run, declared or spec(), stage(run, rows, bad=bad))


def stage(run: Run, rows: list[Row], *, bad: int = 0) -> list[Staged]:
    """Stage rows and some unreadable lines behind them."""
    rejects = pl.DataFrame(
        {
            "source_file": ["shelf.jsonl"] * bad,
            "source_row": [len(rows) + 1 + i for i in range(bad)],
            "raw": ["{"] * bad,
            "reasons": [["not JSON"]] * bad,
            "product_id": [None] * bad,
        },
        schema={
            "source_file": pl.String,
            "source_row": pl.Int64,
            "raw": pl.String,
            "reasons": pl.List(pl.String),
            "product_id": pl.String,
        },
    )
    Stage(staged_folder(run), 0).write(frame(rows), rejects)
    return [Staged("shelf.jsonl", len(rows) + bad, bad, {})]


def crown(run: Run, version: str, digest: str, threshold: float = 0.8) -> None:
    """Register a model and make it champion."""
    challenge(run, version, digest)
    models.note(run, "promoted", version, "the first")
    thresholds = pl.DataFrame(
        {"label": ["Books", "Toys"], "level": [1, 1], "threshold": [threshold] * 2, "support": [5, 5]}
    )
    policy.set_policy(run, spec().accept, version, thresholds)


def challenge(run: Run, version: str, digest: str = "digest") -> None:
    """Register a model that nobody has judged yet."""
    models.register(run, Trained(version, digest, "linear", {}, "data", 9, 2, {"accuracy": 0.9}, 0.1))


def score(run: Run, model: LengthModel) -> scoring.Plan:
    """Score what the champion has not answered for."""
    champion = models.champion(run)
    assert champion is not None
    plan = scoring.plan(run, champion, spec())
    for part in plan.partitions:
        scoring.score_partition(part, model, champion, run.run_id)
    scoring.store(run, plan)
    return plan


def night(rows: list[Row], *, bad: int = 0, model: LengthModel | None = None) -> Run:
    """One whole run."""
    with open_run("shelf", "nightly", ["shelf.jsonl"]) as run:
        ingest(run, rows, bad=bad)
        if models.champion(run) is None:
            crown(run, "v1", "digest-1")
        score(run, model or LengthModel())
    return run
