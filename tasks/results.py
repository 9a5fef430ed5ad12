"""What flows give back: plain facts, for eyes and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from warehouse.places import places
from warehouse.registry import champion

if TYPE_CHECKING:
    from tasks.evaluate_model import Evaluation
    from tasks.fit_model import Candidate
    from tasks.measure_drift import Seen
    from tasks.promote_model import Verdict
    from tasks.read_file import FileRead
    from tasks.register_model import Registered
    from tasks.split_rows import Split
    from warehouse.runs import Run
    from warehouse.scoring import Plan

PLACES = ("read", "accepted", "review", "pending", "rejected", "repeated", "unchanged", "removed")


class _AsDict:
    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON-ready data."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class IngestResult(_AsDict):
    """What an ingest did. rows: read, stored, unchanged, repeated, rejected, removed; warnings by rule."""

    catalog: str
    run_id: str
    rows: dict[str, int]
    warnings: dict[str, int]
    reports: dict[str, str]

    @classmethod
    def of(cls, run: Run, files: list[FileRead], reports: dict[str, str]) -> Self:
        """From what the steps found."""
        names = ("read", "stored", "unchanged", "repeated", "rejected", "removed")
        warnings = sum((Counter(file.staged.warnings) for file in files), Counter[str]())
        return cls(run.catalog, run.run_id, {name: run.counts[name] for name in names}, dict(warnings), reports)


@dataclass(frozen=True)
class TrainResult(_AsDict):
    """What a training did. `promoted` says whether the model is champion now, `why` gives the gate's reasons."""

    catalog: str
    run_id: str
    version: str
    recipe: str
    promoted: bool
    why: str
    rows: int
    holdout_rows: int
    metrics: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    train_s: float
    reports: dict[str, str]

    @classmethod
    def of(
        cls,
        run: Run,
        split: Split,
        candidate: Candidate,
        evaluation: Evaluation,
        registered: Registered,
        verdict: Verdict,
    ) -> Self:
        """From what the steps found."""
        return cls(
            catalog=run.catalog,
            run_id=run.run_id,
            version=registered.record.version,
            recipe=split.recipe.name,
            promoted=verdict.promoted,
            why=verdict.why,
            rows=split.train.height,
            holdout_rows=split.holdout.height,
            metrics=evaluation.metrics,
            baselines=evaluation.baselines,
            train_s=candidate.train_s,
            reports={"evaluation": str(registered.report)},
        )


@dataclass(frozen=True)
class ScoreResult(_AsDict):
    """What a scoring did. rows: scored, reused (answered before), and accepted, review and pending of all."""

    catalog: str
    run_id: str
    version: str
    rows: dict[str, int]

    @classmethod
    def of(cls, run: Run, plan: Plan) -> Self:
        """From what the steps found."""
        now = places(run)
        whole = {name: now[name] for name in ("current", "accepted", "review", "pending")}
        return cls(run.catalog, run.run_id, plan.model.version, plan.counts | whole)


@dataclass(frozen=True)
class MonitorResult(_AsDict):
    """What monitoring saw."""

    catalog: str
    run_id: str
    drifted: bool
    summary: str
    reports: dict[str, str]

    @classmethod
    def of(cls, run: Run, seen: Seen, index: Path) -> Self:
        """From what the steps found."""
        reports = {"drift": str(seen.report), "index": str(index)}
        return cls(run.catalog, run.run_id, seen.drifted, seen.summary, reports)


@dataclass(frozen=True)
class RunResult(_AsDict):
    """A whole run: ingest, training where there was no champion, scoring, monitoring.

    Attributes:
        rows: read, accepted, review, pending, rejected, repeated, unchanged, removed: where every row of the source
            went. `scored` counts what the model was asked.
        model: version, accuracy and macro_f1 on the hold-out, and whether this run trained it.
        drift: drifted, summary.
        reports: paths of the pages by kind.
        baselines: metrics that are easy to reach, on the same hold-out.
    """

    catalog: str
    run_id: str
    rows: dict[str, int]
    model: dict[str, Any]
    drift: dict[str, Any]
    reports: dict[str, str]
    baselines: dict[str, dict[str, Any]]

    @classmethod
    def of(
        cls,
        run: Run,
        ingested: IngestResult,
        trained: TrainResult | None,
        scored: ScoreResult,
        watched: MonitorResult,
    ) -> Self:
        """From what the parts found."""
        now = places(run)
        own = {name: now[f"own_{name}"] for name in ("accepted", "review", "pending")}
        rows = {**run.counts, **own}
        model = champion(run)
        metrics = {} if model is None else model.metrics
        return cls(
            catalog=run.catalog,
            run_id=run.run_id,
            rows={name: rows[name] for name in PLACES} | {"scored": scored.rows["scored"]},
            model={
                "version": scored.version,
                "accuracy": metrics.get("accuracy"),
                "macro_f1": metrics.get("macro_f1"),
                "trained": trained is not None,
            },
            drift={"drifted": watched.drifted, "summary": watched.summary},
            reports={**ingested.reports, **(trained.reports if trained else {}), **watched.reports},
            baselines=metrics.get("baselines", {}),
        )
