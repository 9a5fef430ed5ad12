"""What flows that make models give back: plain facts, for eyes and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from tasks.as_dict import AsDict
from tasks.try_recipe import Failed

if TYPE_CHECKING:
    from tasks.evaluate_model import Evaluation
    from tasks.fit_model import Candidate
    from tasks.plan_search import Search
    from tasks.promote_model import Verdict
    from tasks.register_model import Registered
    from tasks.results import ScoreResult
    from tasks.split_rows import Split
    from tasks.try_recipe import Tried
    from warehouse.runs import Run
    from warehouse.trials import TrialRecord

# Of a trial's record: what the search says once, and when the trial ended.
_SAME_FOR_ALL = {"recipe", "data_digest", "folds", "seed", "tried_at"}


@dataclass(frozen=True)
class TrainResult(AsDict):
    """What a training did.

    Attributes:
        promoted: whether the model is champion now; `why` gives the gate's reasons.
        unread: sentences on given parameters that the solver of so many rows does not read.
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
    unread: list[str]
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
            unread=split.unread,
            findings=registered.findings,
            acceptance=acceptance(run, registered.record.version),
            reports={"evaluation": str(registered.report)}
            | ({} if verdict.report is None else {"gate": str(verdict.report)}),
        )


@dataclass(frozen=True)
class TuneResult(AsDict):
    """What a search found.

    Attributes:
        family: the built-in recipe that `recipe` is a variant of.
        space: parameter → values; `fixed` are those that the caller held to one value.
        rows: training rows, and `data_digest` their sha256.
        folds: parts that the rows were cut into; `folds_scored` of them were scored, `rows_scored` rows.
        points: points of the space, of which `tried` were tried.
        trials: the best first: trial, tried, params, rows, accuracy (mean of the folds), macro_f1, weighted_f1,
            by_fold, fit_s.
        failed: the trials that did not finish: trial, tried, and the error as error, message, where, hint.
        best: the first of the trials.
        standing: that of the recipe as it stands, but for what the caller held; it is tried beside the space. None for
            a prototype whose published search lacks it, and where it failed.
        unread: sentences on held parameters that no trial reads.
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
    points: int
    tried: int
    trials: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    best: dict[str, Any]
    standing: dict[str, Any] | None
    unread: list[str]

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
            points=search.points,
            tried=search.tried,
            trials=trials,
            failed=failed,
            best=trials[0],
            standing=next((trial for trial in trials if trial["trial"] == search.standing), None),
            unread=search.unread,
        )


@dataclass(frozen=True)
class RetrainResult(AsDict):
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


def acceptance(run: Run, version: str) -> dict[str, Any]:
    """How many of a model's labels may be accepted unseen, and why the commonest of the others may not."""
    policy = run.read("policy").filter(pl.col("model_version") == version)
    refused = policy.filter(pl.col("threshold").is_null()).sort("support", descending=True)
    lacks = None if refused.is_empty() else f"{refused['label'][0]}: {refused['reason'][0]}"
    return {"labels": policy.height, "acceptable": policy.height - refused.height, "lacks": lacks}
