"""What flows give back: plain facts, for eyes and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from catalogs import registry
from tasks.as_dict import AsDict
from tasks.model_results import acceptance
from tasks.read_file import meanings
from warehouse.places import places
from warehouse.registry import champion

if TYPE_CHECKING:
    from tasks.list_batches import Batches
    from tasks.model_results import TrainResult
    from tasks.monitor_results import MonitorResult
    from tasks.read_file import FileRead
    from warehouse.runs import Run
    from warehouse.scoring import Plan
    from warehouse.upkeep import Checked, Tidied

PLACES = ("read", "accepted", "review", "pending", "rejected", "repeated", "unchanged", "removed")


@dataclass(frozen=True)
class IngestResult(AsDict):
    """What an ingest did.

    Attributes:
        rows: read, stored, unchanged, repeated, rejected, removed.
        reasons: rejected rows by kind of reason, the commonest first; a row may have several.
        warnings: rows that were stored and should be looked at, by the warning's name.
        meanings: what each of these warnings says, in words.
        reports: paths of the pages by kind.
    """

    catalog: str
    run_id: str
    rows: dict[str, int]
    reasons: dict[str, int]
    warnings: dict[str, int]
    meanings: dict[str, str]
    reports: dict[str, str]

    @classmethod
    def of(cls, run: Run, files: list[FileRead], reports: dict[str, str]) -> Self:
        """From what the steps found."""
        names = ("read", "stored", "unchanged", "repeated", "rejected", "removed")
        warnings = sum((Counter(file.staged.warnings) for file in files), Counter[str]())
        counts = {name: run.counts[name] for name in names}
        said = meanings(warnings, registry.load(run.catalog))
        reasons = dict(sum((file.reasons for file in files), Counter[str]()).most_common())
        return cls(run.catalog, run.run_id, counts, reasons, dict(warnings), said, reports)


@dataclass(frozen=True)
class CatchUpResult(AsDict):
    """What ingesting files one after another did.

    Attributes:
        batches: one result for each file that was read.
        done: files that an earlier run had read, with that run.
        rows: of all batches: read, stored, unchanged, repeated, rejected, removed.
    """

    catalog: str
    batches: list[IngestResult]
    done: dict[str, str]
    rows: dict[str, int]

    @classmethod
    def of(cls, catalog: str, batches: Batches, results: list[IngestResult]) -> Self:
        """From what the batches did."""
        rows = sum((Counter(result.rows) for result in results), Counter[str]())
        names = ("read", "stored", "unchanged", "repeated", "rejected", "removed")
        return cls(catalog, results, batches.done, {name: rows[name] for name in names})


@dataclass(frozen=True)
class ScoreResult(AsDict):
    """What a scoring did.

    Attributes:
        rows: scored, reused (answered before), and accepted, review and pending of all current products.
        history_only: whether its answers stand in predictions_history alone, as the model is not champion.
        notes: what is to be known of the model, in words.
    """

    catalog: str
    run_id: str
    version: str
    rows: dict[str, int]
    history_only: bool = False
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, plan: Plan) -> Self:
        """From what the steps found."""
        now = places(run)
        whole = {name: now[name] for name in ("current", "accepted", "review", "pending")}
        return cls(run.catalog, run.run_id, plan.model.version, plan.counts | whole, not plan.replaces, plan.notes)


@dataclass(frozen=True)
class MaintainResult(AsDict):
    """What upkeep found and did.

    Attributes:
        checked: tables, files, rows and models that were read.
        damage: where, what and hint of everything that is not as it was written.
        compacted: by kind of table, files before and after; None where damage kept everything from being touched.
        deleted: by kind of table, files and bytes; None as well.
    """

    catalog: str
    checked: dict[str, int]
    damage: list[dict[str, str]]
    compacted: dict[str, dict[str, int]] | None
    deleted: dict[str, dict[str, int]] | None

    @classmethod
    def of(cls, catalog: str, found: Checked, done: Tidied | None) -> Self:
        """From what the steps found and did."""
        checked = {name: getattr(found, name) for name in ("tables", "files", "rows", "models")}
        damage = [asdict(one) for one in (*found.damage, *found.published)]
        if done is None:
            return cls(catalog, checked, damage, None, None)
        compacted = {kind: {"before": before, "after": after} for kind, (before, after) in done.compacted.items()}
        deleted = {kind: {"files": files, "bytes": size} for kind, (files, size) in done.deleted.items()}
        return cls(catalog, checked, damage, compacted, deleted)


@dataclass(frozen=True)
class RunResult(AsDict):
    """A whole run: ingest, training where there was no champion, scoring, monitoring.

    Attributes:
        rows: read, accepted, review, pending, rejected, repeated, unchanged, removed: where every row of the source
            went. `scored` counts what the model was asked.
        model: version, accuracy and macro_f1 on the hold-out, and whether this run trained it.
        drift: drifted (None where there is no verdict), summary, arrivals.
        freshness: as in MonitorResult.
        retraining: the same.
        reasons: rejected rows by kind of reason, as in IngestResult.
        warnings: of the ingest, by name; `meanings` says them in words.
        reports: paths of the pages by kind.
        baselines: metrics that are easy to reach, on the same hold-out.
        findings: as in TrainResult; empty where this run did not train.
        notes: as in ScoreResult.
        acceptance: labels, how many of them may be accepted unseen, and what the commonest of the others lacks.
    """

    catalog: str
    run_id: str
    rows: dict[str, int]
    model: dict[str, Any]
    drift: dict[str, Any]
    freshness: dict[str, Any]
    retraining: dict[str, Any]
    reasons: dict[str, int]
    warnings: dict[str, int]
    meanings: dict[str, str]
    reports: dict[str, str]
    baselines: dict[str, dict[str, Any]]
    findings: list[str]
    notes: list[str]
    acceptance: dict[str, Any]

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
            drift={"drifted": watched.drifted, "summary": watched.summary, "arrivals": watched.arrivals},
            freshness=watched.freshness,
            retraining=watched.retraining,
            reasons=ingested.reasons,
            warnings=ingested.warnings,
            meanings=ingested.meanings,
            reports={**ingested.reports, **(trained.reports if trained else {}), **watched.reports},
            baselines=metrics.get("baselines", {}),
            findings=trained.findings if trained else [],
            notes=scored.notes,
            acceptance=acceptance(run, scored.version),
        )
