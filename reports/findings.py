"""What an evaluation found beyond its metrics, as data and in sentences: for the page, for machines, for the card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from classifier.bootstrap import wilson
from classifier.label_issues import LabelIssues
from classifier.slices import Slices
from classifier.studies import Study
from reports import page

__all__ = ["Findings", "for_machines", "sentences", "study_sentences"]

# An interval that reaches so far above zero leaves open whether there is a gain worth having.
_WORTH_HAVING = 0.02
# Less more accuracy than this is no reason to look at a baseline.
_SEEN = 0.001
_NAMED = 5
KEPT_ISSUES = 200
"""Suspected labels kept in evaluation.json; the CSV has them all."""


@dataclass(frozen=True)
class Findings:
    """What was found; what is empty or None was not looked for.

    Attributes:
        intervals: of the metrics, as `classifier.bootstrap.intervals` gives them.
        coverage: as `classifier.coverage.precision_coverage` gives it.
        accepted: level, rows, share, right: what the thresholds let through on the hold-out.
        precision_target: precision that accepted products are to reach.
        slices: accuracy by slice.
        unmeasured: labels that were trained on, and that no held-out product has.
        untaught: labels that only held-out products have.
        learning_curve: metrics by training rows.
        ablation: metrics without each field.
        studies_skipped: why there are neither.
        label_issues: training labels that look wrong.
        unlearnt: fields that every product is to have, and of which nothing was learnt.
        accuracy: the model's on the hold-out.
        baselines: metrics of what it has to beat there.
    """

    intervals: Mapping[str, Any] = field(default_factory=dict)
    coverage: Sequence[Mapping[str, Any]] = ()
    accepted: Sequence[Mapping[str, Any]] = ()
    precision_target: float | None = None
    slices: Slices | None = None
    unmeasured: Sequence[str] = ()
    untaught: Sequence[str] = ()
    learning_curve: Study | None = None
    ablation: Study | None = None
    studies_skipped: str = ""
    label_issues: LabelIssues | None = None
    unlearnt: Sequence[str] = ()
    accuracy: float | None = None
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def sentences(found: Findings) -> list[str]:
    """The findings that a reader should not miss, in words."""
    said = [*_beaten(found), *_accepted(found), *_weak(found.slices)]
    if found.unlearnt:
        said.append(
            f"Nothing was learnt of {_listed(found.unlearnt)}: no training product has a value that tells anything."
        )
    if found.unmeasured:
        labels = _listed(found.unmeasured)
        said.append(f"No held-out product has the label {labels}: nothing is known of how well that is told.")
    if found.untaught:
        said.append(f"Only held-out products have the label {_listed(found.untaught)}: the model cannot give it.")
    said += [sentence for sentence in study_sentences(found).values() if sentence]
    if found.label_issues is not None and found.label_issues.rows:
        said.append(_issues(found.label_issues))
    return said


def study_sentences(found: Findings) -> dict[str, str]:
    """curve: whether more data would help; ablation: what the fields are worth. Empty where that was not studied."""
    curve, ablation = found.learning_curve, found.ablation
    return {
        "curve": "" if curve is None else _curve_in_words(curve),
        "ablation": "" if ablation is None or not ablation.rows else _ablation_in_words(ablation),
    }


def for_machines(found: Findings) -> dict[str, Any]:
    """The findings as plain data."""
    cut, issues = found.slices, found.label_issues
    return {
        "findings": sentences(found),
        "intervals": dict(found.intervals),
        "precision_coverage": list(found.coverage),
        "accepted": [dict(row) | {"interval": wilson(row["right"], row["rows"])} for row in found.accepted],
        "precision_target": found.precision_target,
        "unmeasured_labels": list(found.unmeasured),
        "untaught_labels": list(found.untaught),
        "slices": cut and {"overall": cut.overall, "rows": cut.table.to_dicts(), "notes": cut.notes},
        "learning_curve": _study(found.learning_curve, found.studies_skipped),
        "ablation": _study(found.ablation, found.studies_skipped),
        "label_issues": {
            "judged": issues.rows if issues else None,
            "level": issues.level if issues else None,
            "count": issues.table.height if issues else None,
            "rows": issues.table.head(KEPT_ISSUES).to_dicts() if issues else [],
        },
    }


def _curve_in_words(study: Study) -> str:
    """Whether more data would help."""
    half = next((row for row in study.rows if row["share"] == 0.5), None)
    if half is None:
        return "Would more data help? There is no fit on half of the rows to tell it from."
    gain = half["gain"]["macro_f1"]
    low, high = gain["interval"]
    start = f"From half of the training products to all of them macro F1 changed by {_signed(gain)}"
    if low > 0:
        return f"{start}: more labelled products would probably help."
    if high > _WORTH_HAVING:
        return f"{start}: the held-out products are too few to tell whether more would help."
    return f"{start}: more products of the same kind would help little."


def _ablation_in_words(study: Study) -> str:
    """What the fields are worth."""
    said: dict[str, list[str]] = {"brings": [], "costs": [], "unclear": []}
    for row in sorted(study.rows, key=lambda row: -row["gain"]["macro_f1"]["difference"]):
        low, high = row["gain"]["macro_f1"]["interval"]
        kind = "brings" if low > 0 else "costs" if high < 0 else "unclear"
        change = page.signed(-row["gain"]["macro_f1"]["difference"])
        named = row["field"] if kind == "unclear" else f"{row['field']} ({change})"
        said[kind].append(named)
    parts = []
    if said["brings"]:
        parts.append(f"macro F1 is lower without {_listed(said['brings'])}")
    if said["costs"]:
        parts.append(f"macro F1 is higher without {_listed(said['costs'])}")
    if said["unclear"]:
        parts.append(f"no difference beyond luck can be measured for {_listed(said['unclear'])}")
    return f"Fields: {'; '.join(parts)}."


def _beaten(found: Findings) -> Iterator[str]:
    for name, metrics in found.baselines.items():
        theirs = metrics.get("accuracy")
        if theirs is None or found.accuracy is None or theirs < found.accuracy + _SEEN:
            continue
        yield (
            f"The baseline {name.replace('_', ' ')} is right on more of the held-out products than the model: "
            f"{page.share(theirs)} against {page.share(found.accuracy)}. See whether another recipe suits better."
        )


def _accepted(found: Findings) -> Iterator[str]:
    asked = "" if found.precision_target is None else f", {page.share(found.precision_target, 0)} is asked"
    several = len(found.accepted) > 1
    for row in found.accepted:
        where = f" down to {row['level']}" if several else ""
        if not row["rows"]:
            yield f"No held-out product is accepted unseen{where}."
            continue
        ends = wilson(row["right"], row["rows"])
        yield (
            f"{page.share(row['share'])} of the held-out products are accepted unseen{where}, and "
            f"{page.share(row['right'])} of those are right{_between(ends)}{asked}."
        )


def _weak(cut: Slices | None) -> Iterator[str]:
    if cut is None:
        return
    for row in cut.weak:
        yield (
            f"Weak where {row['by']} is {row['slice']}: right on {page.share(row['accuracy'])} of "
            f"{page.number(row['rows'])} products{_between((row['low'], row['high']))}, overall on "
            f"{page.share(cut.overall)}; {_why_weak(row)}."
        )
    if not cut.weak and cut.looked_at:
        yield f"None of {cut.looked_at} slices of the products is weaker than all of them together beyond luck."


def _why_weak(row: Mapping[str, Any]) -> str:
    labels = f"their labels alone would give {page.share(row['expected'])}"
    if row["expected"] <= row["high"]:
        return f"{labels}, so it is these labels that are hard"
    return f"{labels}, so it is more than hard labels"


def _issues(issues: LabelIssues) -> str:
    count, of = issues.table.height, f"{page.number(issues.rows)} training products that were judged"
    level = f" of {issues.level}" if issues.level else ""
    if not count:
        return f"None of the {of} has a label{level} that looks wrong."
    return (
        f"{page.number(count)} of the {of} ({page.share(count / issues.rows)}) have a label{level} that looks wrong: "
        "a list to check."
    )


def _study(study: Study | None, skipped: str) -> dict[str, Any]:
    if study is None:
        return {"rows": [], "skipped": [skipped] if skipped else []}
    return {"rows": study.rows, "skipped": study.skipped}


def _signed(gain: Mapping[str, Any]) -> str:
    low, high = gain["interval"]
    return f"{page.signed(gain['difference'])} (95 % interval {page.signed(low)} to {page.signed(high)})"


def _between(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" (95 % interval {page.share(ends[0])} to {page.share(ends[1])})"


def _listed(names: Sequence[str]) -> str:
    shown = [page.cut(name, 60) for name in names[:_NAMED]]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    # A label may hold a comma itself.
    return ("; " if any("," in name for name in shown) else ", ").join(shown) + more
