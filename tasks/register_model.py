"""Step: keep a model: its artifact, its entry in the registry, its policy and its evaluation report."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from catalogs import registry as catalogues
from catalogs.spec import CatalogSpec
from classifier.artifact import save
from classifier.embedding import Embedding
from classifier.label_issues import LabelIssues
from classifier.model import Model
from core.orchestration import artifact_table, step
from core.settings import get_settings
from reports import evaluation as report
from reports.findings import Findings, sentences
from tasks.evaluate_model import Evaluation
from tasks.fit_model import Candidate
from tasks.split_rows import Split
from tasks.study_model import Studies
from warehouse import registry
from warehouse.policy import decide, reviewing_all, set_policy
from warehouse.registry import ModelRecord, Trained
from warehouse.runs import Run, joined
from warehouse.watched import current_rows

_SHOWN_FACTS = ("version", "run_id", "data_digest", "rows", "holdout_rows", "train_s", "peak_mib")

REFERENCE_ROWS = 20_000
"""Products with answers that are kept with a model, for drift reports."""


@dataclass(frozen=True)
class Registered:
    """A model that is kept, its page, and what the page says in short."""

    record: ModelRecord
    report: Path
    findings: list[str]


@step("register model")
def register_model(
    run_id: str,
    split: Split,
    candidate: Candidate,
    evaluation: Evaluation,
    studies: Studies,
    suspected: LabelIssues,
    embedding: Embedding | None,
) -> Registered:
    """Write the artifact, enter it as challenger with its policy, and write its report."""
    run = joined(run_id)
    spec = catalogues.load(run.catalog)
    version = registry.next_version(run)
    folder = run.home.models(run.catalog) / version
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed before it recorded the version
    data_digest = split.data_digest
    found = _found(spec, candidate.model, evaluation, studies, suspected)
    facts: dict[str, Any] = {
        "version": version,
        "run_id": run_id,
        "data_digest": data_digest,
        "rows": split.train.height,
        "holdout_rows": split.holdout.height,
        "metrics": evaluation.metrics | {"baselines": evaluation.baselines},
        "train_s": candidate.train_s,
        "peak_mib": candidate.peak_mib,
        "intervals": evaluation.intervals,
        "findings": sentences(found),
    }
    # Who has sent everything to review means whatever answers, not one version.
    accept = spec.accept.model_copy(update={"review_all": spec.accept.review_all or reviewing_all(run)})
    set_policy(run, accept, version, candidate.model.thresholds)
    reference = _reference(run, spec, candidate.model, version)
    digest = save(candidate.model, folder, facts, reference, embedding)
    record = registry.register(
        run,
        Trained(
            version=version,
            digest=digest,
            recipe=split.recipe.name,
            params=split.recipe.settings,
            data_digest=data_digest,
            rows=split.train.height,
            holdout_rows=split.holdout.height,
            metrics=facts["metrics"],
            train_s=candidate.train_s,
        ),
    )
    page = report.write(
        run.reports,
        catalog=run.catalog,
        model_version=version,
        recipe=split.recipe.name,
        metrics=evaluation.metrics,
        baselines=evaluation.baselines,
        confusions=evaluation.confusions,
        thresholds=candidate.model.thresholds,
        reliability=evaluation.reliability,
        facts={**{name: facts[name] for name in _SHOWN_FACTS}, "python": platform.python_version()},
        found=found,
    )
    artifact_table(f"model-{run.catalog}", [_headline(evaluation, version)], f"Model {version} on the hold-out")
    return Registered(record, page, facts["findings"])


def _reference(run: Run, spec: CatalogSpec, model: Model, version: str) -> pl.DataFrame:
    """Products that the model has not learnt from, with its answers; none of a prototype, which learns from all."""
    unseen = current_rows(run, spec, REFERENCE_ROWS, get_settings().seed)
    if model.recipe.is_prototype:
        unseen = unseen.clear()
    unseen = unseen.drop("label", "label_path", "confidence", "confidence_path")
    answers = model.predict(unseen, reasons=False).select("label", "label_path", "confidence", "confidence_path")
    answered = unseen.select("product_id", "known_path", *spec.field_names).hstack(answers)
    decided = decide(answered, run.read("policy"), version)
    return answered.drop("confidence_path").with_columns(decided.get_column("decision"))


def _found(
    spec: CatalogSpec, model: Model, evaluation: Evaluation, studies: Studies, suspected: LabelIssues
) -> Findings:
    required = {field.name for field in spec.fields if field.required}
    return Findings(
        intervals=evaluation.intervals,
        coverage=evaluation.coverage,
        accepted=evaluation.accepted,
        precision_target=spec.accept.precision_target,
        slices=evaluation.slices,
        unmeasured=evaluation.unmeasured,
        untaught=evaluation.untaught,
        learning_curve=studies.learning_curve,
        ablation=studies.ablation,
        studies_skipped=studies.skipped,
        label_issues=suspected,
        unlearnt=[name for name in model.unlearnt if name in required],
        accuracy=evaluation.metrics.get("accuracy"),
        baselines=evaluation.baselines,
    )


def _headline(evaluation: Evaluation, version: str) -> dict[str, object]:
    names = ("rows", "accuracy", "macro_f1", "weighted_f1")
    return {"version": version, **{name: evaluation.metrics.get(name) for name in names}}
