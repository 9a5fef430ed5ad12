"""What flows give back: plain facts, for eyes and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from catalogs import registry
from reports.self_test_page import said
from tasks.read_file import meanings
from tasks.try_recipe import Failed
from warehouse.places import places
from warehouse.registry import champion

if TYPE_CHECKING:
    from reports.self_test import Trial
    from tasks.decide_retraining import Retraining
    from tasks.evaluate_model import Evaluation
    from tasks.fit_model import Candidate
    from tasks.list_batches import Batches
    from tasks.measure_drift import Seen
    from tasks.plan_search import Search
    from tasks.promote_model import Verdict
    from tasks.read_file import FileRead
    from tasks.register_model import Registered
    from tasks.split_rows import Split
    from tasks.try_detectors import Sampled
    from tasks.try_recipe import Tried
    from warehouse.runs import Run
    from warehouse.scoring import Plan
    from warehouse.trials import TrialRecord
    from warehouse.upkeep import Checked, Tidied

# Of a trial's record: what the search says once, and when the trial ended.
_SAME_FOR_ALL = {"recipe", "data_digest", "folds", "seed", "tried_at"}

PLACES = ("read", "accepted", "review", "pending", "rejected", "repeated", "unchanged", "removed")


class _AsDict:
    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON-ready data."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class IngestResult(_AsDict):
    """What an ingest did.

    Attributes:
        rows: read, stored, unchanged, repeated, rejected, removed.
        warnings: rows that were stored and should be looked at, by the warning's name.
        meanings: what each of these warnings says, in words.
        reports: paths of the pages by kind.
    """

    catalog: str
    run_id: str
    rows: dict[str, int]
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
        return cls(run.catalog, run.run_id, counts, dict(warnings), said, reports)


@dataclass(frozen=True)
class CatchUpResult(_AsDict):
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
class TrainResult(_AsDict):
    """What a training did.

    Attributes:
        promoted: whether the model is champion now; `why` gives the gate's reasons.
        gate: every check against the champion, as in the view gate_checks; empty where there was no comparison.
        findings: what a reader of the evaluation should not miss, in words.
        acceptance: as in RunResult.
    """

    catalog: str
    run_id: str
    version: str
    recipe: str
    promoted: bool
    why: str
    gate: list[dict[str, Any]]
    rows: int
    holdout_rows: int
    metrics: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    train_s: float
    findings: list[str]
    acceptance: dict[str, Any]
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
            gate=[asdict(check) for check in verdict.checks],
            rows=split.train.height,
            holdout_rows=split.holdout.height,
            metrics=evaluation.metrics,
            baselines=evaluation.baselines,
            train_s=candidate.train_s,
            findings=registered.findings,
            acceptance=_acceptance(run, registered.record.version),
            reports={"evaluation": str(registered.report)}
            | ({} if verdict.report is None else {"gate": str(verdict.report)}),
        )


@dataclass(frozen=True)
class TuneResult(_AsDict):
    """What a search found.

    Attributes:
        family: the built-in recipe that `recipe` is a variant of.
        space: parameter → values; `fixed` are those that the caller held to one value.
        rows: training rows, and `data_digest` their sha256.
        folds: parts that the rows were cut into; `folds_scored` of them were scored, `rows_scored` rows.
        trials: the best first: trial, tried, params, rows, accuracy (mean of the folds), macro_f1, weighted_f1,
            by_fold, fit_s.
        failed: the trials that did not finish: trial, tried, and the error as error, message, where, hint.
        best: the first of the trials.
    """

    catalog: str
    run_id: str
    recipe: str
    family: str
    space: dict[str, list[Any]]
    fixed: dict[str, str]
    rows: int
    data_digest: str
    folds: int
    folds_scored: int
    rows_scored: int
    trials: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    best: dict[str, Any]

    @classmethod
    def of(cls, run: Run, search: Search, ranked: list[TrialRecord], ended: Sequence[Tried | Failed]) -> Self:
        """From what the steps found."""
        trials = [
            {name: value for name, value in asdict(trial).items() if name not in _SAME_FOR_ALL} for trial in ranked
        ]
        failed = [
            {"trial": one.trial.number, "tried": one.trial.tried, **one.error.as_dict()}
            for one in ended
            if isinstance(one, Failed)
        ]
        return cls(
            catalog=run.catalog,
            run_id=run.run_id,
            recipe=search.recipe,
            family=search.family,
            space=search.space,
            fixed=search.fixed,
            rows=search.rows,
            data_digest=search.data_digest,
            folds=search.folds,
            folds_scored=max(trial.folds_scored for trial in ranked),
            rows_scored=max(trial.rows for trial in ranked),
            trials=trials,
            failed=failed,
            best=trials[0],
        )


@dataclass(frozen=True)
class ScoreResult(_AsDict):
    """What a scoring did.

    Attributes:
        rows: scored, reused (answered before), and accepted, review and pending of all current products.
        history_only: whether its answers stand in predictions_history alone, as the model is not champion.
    """

    catalog: str
    run_id: str
    version: str
    rows: dict[str, int]
    history_only: bool = False

    @classmethod
    def of(cls, run: Run, plan: Plan) -> Self:
        """From what the steps found."""
        now = places(run)
        whole = {name: now[name] for name in ("current", "accepted", "review", "pending")}
        return cls(run.catalog, run.run_id, plan.model.version, plan.counts | whole, not plan.replaces)


@dataclass(frozen=True)
class RetrainResult(_AsDict):
    """What a retraining came to.

    Attributes:
        why: what led to it.
        version: the challenger; `promoted` says whether it is champion now, and `verdict` why or why not.
        champion: whose answers are current.
        rows: as in ScoreResult.
        reports: paths of the pages by kind.
    """

    catalog: str
    run_id: str
    why: str
    version: str
    promoted: bool
    verdict: str
    champion: str
    rows: dict[str, int]
    reports: dict[str, str]

    @classmethod
    def of(cls, run: Run, why: str, trained: TrainResult, scored: ScoreResult) -> Self:
        """From what the parts did."""
        said = (trained.version, trained.promoted, trained.why)
        return cls(run.catalog, run.run_id, why, *said, scored.version, scored.rows, trained.reports)


@dataclass(frozen=True)
class MonitorResult(_AsDict):
    """What monitoring saw.

    Attributes:
        drifted: in either comparison; None where there was too little to compare for a verdict in both.
        summary: of the whole catalogue.
        arrivals: drifted and summary of what came in since the last look.
        retraining: wanted, summary, and rules: rule, value, limit, met, why.
    """

    catalog: str
    run_id: str
    drifted: bool | None
    summary: str
    arrivals: dict[str, Any]
    retraining: dict[str, Any]
    reports: dict[str, str]

    @classmethod
    def of(cls, run: Run, whole: Seen, arrived: Seen, retraining: Retraining, index: Path) -> Self:
        """From what the steps found."""
        verdicts = [seen.drifted for seen in (whole, arrived) if seen.drifted is not None]
        return cls(
            catalog=run.catalog,
            run_id=run.run_id,
            drifted=any(verdicts) if verdicts else None,
            summary=whole.summary,
            arrivals={"drifted": arrived.drifted, "summary": arrived.summary},
            retraining=asdict(retraining),
            reports={"drift": str(whole.report), "arrivals": str(arrived.report), "index": str(index)},
        )


@dataclass(frozen=True)
class SelfTestResult(_AsDict):
    """How the drift detectors did.

    Attributes:
        met: all goals were reached.
        summary: in a sentence.
        products: that were drawn from.
        trials: comparison, drift (None where nothing has changed), drawn, rows, trials, alarms, share, interval, met,
            named.
    """

    catalog: str
    run_id: str
    met: bool
    summary: str
    products: int
    trials: list[dict[str, Any]]
    reports: dict[str, str]

    @classmethod
    def of(cls, sampled: Sampled, tested: list[Trial], page: Path) -> Self:
        """From what the steps found."""
        return cls(
            catalog=sampled.catalog,
            run_id=sampled.run_id,
            met=all(trial.met for trial in tested),
            summary=said(tested),
            products=sampled.world.pool.height,
            trials=[trial.as_dict() for trial in tested],
            reports={"self-test": str(page)},
        )


@dataclass(frozen=True)
class MaintainResult(_AsDict):
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
        damage = [asdict(one) for one in found.damage]
        if done is None:
            return cls(catalog, checked, damage, None, None)
        compacted = {kind: {"before": before, "after": after} for kind, (before, after) in done.compacted.items()}
        deleted = {kind: {"files": files, "bytes": size} for kind, (files, size) in done.deleted.items()}
        return cls(catalog, checked, damage, compacted, deleted)


@dataclass(frozen=True)
class RunResult(_AsDict):
    """A whole run: ingest, training where there was no champion, scoring, monitoring.

    Attributes:
        rows: read, accepted, review, pending, rejected, repeated, unchanged, removed: where every row of the source
            went. `scored` counts what the model was asked.
        model: version, accuracy and macro_f1 on the hold-out, and whether this run trained it.
        drift: drifted (None where there is no verdict), summary, arrivals.
        retraining: as in MonitorResult.
        warnings: of the ingest, by name; `meanings` says them in words.
        reports: paths of the pages by kind.
        baselines: metrics that are easy to reach, on the same hold-out.
        findings: as in TrainResult; empty where this run did not train.
        acceptance: labels, how many of them may be accepted unseen, and what the commonest of the others lacks.
    """

    catalog: str
    run_id: str
    rows: dict[str, int]
    model: dict[str, Any]
    drift: dict[str, Any]
    retraining: dict[str, Any]
    warnings: dict[str, int]
    meanings: dict[str, str]
    reports: dict[str, str]
    baselines: dict[str, dict[str, Any]]
    findings: list[str]
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
            retraining=watched.retraining,
            warnings=ingested.warnings,
            meanings=ingested.meanings,
            reports={**ingested.reports, **(trained.reports if trained else {}), **watched.reports},
            baselines=metrics.get("baselines", {}),
            findings=trained.findings if trained else [],
            acceptance=_acceptance(run, scored.version),
        )


def _acceptance(run: Run, version: str) -> dict[str, Any]:
    """How many of a model's labels may be accepted unseen, and why the commonest of the others may not."""
    policy = run.read("policy").filter(pl.col("model_version") == version)
    refused = policy.filter(pl.col("threshold").is_null()).sort("support", descending=True)
    lacks = None if refused.is_empty() else f"{refused['label'][0]}: {refused['reason'][0]}"
    return {"labels": policy.height, "acceptable": policy.height - refused.height, "lacks": lacks}
