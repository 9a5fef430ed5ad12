"""Step: whether a challenger replaces the champion."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from catalogs import registry as catalogues
from catalogs.spec import CatalogSpec
from classifier.artifact import load, size
from classifier.gate import Check, Contestant, checks, unseen
from core.errors import ArtifactDamaged, ColumnMissing
from core.orchestration import artifact_table, step
from core.settings import get_settings
from reports import gate as report
from tasks.evaluate_model import Evaluation
from tasks.register_model import Registered
from tasks.split_rows import Split
from warehouse import registry
from warehouse.registry import ModelRecord
from warehouse.runs import Run, joined


@dataclass(frozen=True)
class Verdict:
    """What the gate said, and why.

    Attributes:
        promoted: whether the challenger is champion now.
        why: in words; of a refusal every reason.
        champion: the version that it was compared with; None where there was no comparison.
        rows: hold-out rows that both were compared on.
        checks: everything that was compared.
        report: the page that shows it.
    """

    promoted: bool
    why: str
    champion: str | None = None
    rows: int = 0
    checks: list[Check] = field(default_factory=list)
    report: Path | None = None


@step("promote model")
def promote_model(
    run_id: str, split: Split, challenger: Registered, evaluation: Evaluation, *, overrule: bool
) -> Verdict:
    """Promote the challenger if it is the first, passes every check against the champion, or is overruled.

    A prototype learns from the hold-out too, so only `overrule` promotes it, and only `overrule` replaces it. A
    champion that reads fields which the catalogue no longer has is replaced by whatever can answer. `overrule` keeps
    what the checks found, where they can be made.
    """
    run = joined(run_id)
    spec = catalogues.load(run.catalog)
    champion = registry.champion(run)
    if overrule:
        verdict = _overruled(spec, split, challenger, champion, evaluation)
    else:
        verdict = _judge(spec, split, challenger, champion, evaluation)
    if verdict.checks:
        verdict = replace(verdict, report=_keep(run, challenger.record, verdict))
    registry.note(
        run,
        "promoted" if verdict.promoted else "refused",
        challenger.record.version,
        verdict.why,
        by="person" if overrule else "gate",
    )
    return verdict


def _overruled(
    spec: CatalogSpec, split: Split, challenger: Registered, champion: ModelRecord | None, evaluation: Evaluation
) -> Verdict:
    """Promoted; a champion that is damaged is no reason not to be."""
    try:
        said = _judge(spec, split, challenger, champion, evaluation)
    except ArtifactDamaged:
        said = Verdict(promoted=False, why="")
    if not said.checks:
        return Verdict(promoted=True, why="promoted by --promote, without the gate")
    against = "" if said.promoted else " against the gate"
    return replace(said, promoted=True, why=f"promoted by --promote{against}; {said.why}")


def _judge(
    spec: CatalogSpec, split: Split, challenger: Registered, champion: ModelRecord | None, evaluation: Evaluation
) -> Verdict:
    if split.recipe.is_prototype:
        return Verdict(
            promoted=False,
            why="a prototype is trained on every labelled row and never enters the gate; "
            f"aisle models promote {spec.name} {challenger.record.version} makes it champion",
        )
    if champion is None:
        return Verdict(promoted=True, why="the catalogue had no champion")
    if split.holdout.is_empty():
        return Verdict(promoted=False, why="there are no hold-out rows to compare the two on")
    return _compare(spec, challenger.record, champion, evaluation)


def _compare(spec: CatalogSpec, challenger: ModelRecord, champion: ModelRecord, evaluation: Evaluation) -> Verdict:
    before = load(champion.folder)
    if before.recipe.is_prototype:
        return Verdict(
            promoted=False,
            why=f"champion {champion.version} is a prototype, trained on the hold-out as well: no fair comparison; "
            f"aisle models promote {spec.name} {challenger.version} replaces it",
        )
    try:
        before.vectoriser.check(evaluation.answered)
    except ColumnMissing as error:
        return Verdict(promoted=True, why=f"champion {champion.version} can answer no more: {error.message}")
    rows = evaluation.answered.filter(unseen(evaluation.answered, before.spec))
    if rows.is_empty():
        return Verdict(
            promoted=False,
            why=f"champion {champion.version} was trained with another hold-out, and has seen every row of this one: "
            f"no fair comparison; aisle train {spec.name} --promote replaces it",
        )
    found = checks(
        rows,
        Contestant(load(challenger.folder), rows, size(challenger.folder)),
        Contestant(before, before.predict(rows, reasons=False), size(champion.folder)),
        spec,
        get_settings().seed,
    )
    failed = [check for check in found if not check.passed]
    outcome = f"{len(failed)} of {len(found)}" if failed else f"all {len(found)}"
    head = (
        f"{outcome} checks against champion {champion.version} {'failed' if failed else 'passed'} on "
        f"{rows.height:,} hold-out rows that neither has seen"
    )
    why = f"{head}: {' '.join(check.said for check in failed or found[:1])}"
    return Verdict(not failed, why, champion.version, rows.height, found)


def _keep(run: Run, challenger: ModelRecord, verdict: Verdict) -> Path:
    """Keep what was compared as rows, as a page and as an artifact of the run; gives the page."""
    rows = [asdict(check) for check in verdict.checks]
    champion, seed = str(verdict.champion), get_settings().seed
    registry.keep_checks(run, challenger.version, champion, rows, seed)
    artifact_table(f"gate-{run.catalog}", rows, f"{challenger.version}: {verdict.why.partition(': ')[0]}")
    return report.write(
        run.reports,
        verdict.checks,
        catalog=run.catalog,
        run_id=run.run_id,
        versions=(challenger.version, champion),
        rows=verdict.rows,
        promoted=verdict.promoted,
        seed=seed,
    )
