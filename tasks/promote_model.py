"""Step: whether a challenger replaces the champion."""

from __future__ import annotations

from dataclasses import dataclass

from catalogs import registry as catalogues
from classifier.artifact import load
from classifier.metrics import evaluate
from core.errors import ColumnMissing
from core.orchestration import step
from tasks.evaluate_model import Evaluation
from tasks.register_model import Registered
from tasks.split_rows import Split
from warehouse import registry
from warehouse.registry import ModelRecord
from warehouse.runs import joined


@dataclass(frozen=True)
class Verdict:
    """What the gate said, and why."""

    promoted: bool
    why: str


@step("promote model")
def promote_model(
    run_id: str, split: Split, challenger: Registered, evaluation: Evaluation, *, overrule: bool
) -> Verdict:
    """Promote the challenger if it is the first, no worse than the champion on the same hold-out, or overruled.

    A prototype learns from the hold-out too, so only `overrule` promotes it, and only `overrule` replaces it. A
    champion that reads fields which the catalogue no longer has is replaced by whatever can answer.
    """
    run = joined(run_id)
    champion = registry.champion(run)
    verdict = _judge(run.catalog, split, champion, evaluation, overrule=overrule)
    registry.note(
        run,
        "promoted" if verdict.promoted else "refused",
        challenger.record.version,
        verdict.why,
        by="person" if overrule else "gate",
    )
    return verdict


def _judge(
    catalog: str, split: Split, champion: ModelRecord | None, evaluation: Evaluation, *, overrule: bool
) -> Verdict:
    if overrule:
        return Verdict(promoted=True, why="promoted by --promote, without the gate")
    if split.recipe.is_prototype:
        return Verdict(promoted=False, why="a prototype is trained on every labelled row and never enters the gate")
    if champion is None:
        return Verdict(promoted=True, why="the first model of this catalogue")
    if split.holdout.is_empty():
        return Verdict(promoted=False, why="there are no hold-out rows to compare the two on")
    return _compare(catalog, split, champion, evaluation)


def _compare(catalog: str, split: Split, champion: ModelRecord, evaluation: Evaluation) -> Verdict:
    spec = catalogues.load(catalog)
    model = load(champion.folder)
    if model.recipe.is_prototype:
        return Verdict(
            promoted=False,
            why=f"champion {champion.version} is a prototype, trained on the hold-out as well: no fair comparison; "
            f"aisle train {catalog} --promote replaces it",
        )
    try:
        model.vectoriser.check(split.holdout)
    except ColumnMissing as error:
        why = f"champion {champion.version} can answer no more: {error.message}"
        return Verdict(promoted=True, why=why)
    answers = model.predict(split.holdout, reasons=False)
    before = evaluate(split.holdout["known_path"], answers["label_path"], spec.levels)["macro_f1"]
    now = evaluation.metrics["macro_f1"]
    allowed = spec.gate.max_loss
    compared = (
        f"macro F1 {now:.4f}, champion {champion.version} {before:.4f} on the same {split.holdout.height:,} "
        f"hold-out rows; a loss of {allowed:.4f} is allowed"
    )
    return Verdict(promoted=bool(now >= before - allowed), why=compared)
