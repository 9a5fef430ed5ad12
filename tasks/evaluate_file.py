"""Evaluating the champion on a labelled file. Nothing is written: neither the warehouse nor the registry learns of it.

A plain function, not a Prefect task: it answers a person who waits, and needs no server and no run.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from catalogs import registry
from catalogs.digests import text_hashes
from catalogs.normalise import normalise
from catalogs.readers import read
from catalogs.sources import SourceFile, resolve
from catalogs.spec import CatalogSpec
from classifier import artifact
from classifier.holdout import holdout_mask
from classifier.metrics import evaluate
from classifier.model import Model
from core.errors import NotEnoughLabels
from core.settings import get_settings
from expectations.decide import decide
from reports.validation import reason_kinds
from warehouse import policy
from warehouse.home import get_home
from warehouse.registry import published_champion
from warehouse.taught import taught

_PATH = pl.List(pl.String)
_ANSWERS: dict[str, Any] = {
    "text_hash": pl.String,
    "learnt_hash": pl.String,
    "known_path": _PATH,
    "predicted_path": _PATH,
    "label_path": _PATH,
    "decision": pl.String,
}


def evaluate_file(catalog: str, source: list[str]) -> dict[str, Any]:
    """Score a labelled source with the champion and compare.

    Every row is read, normalised and decided as an ingest would do it; repeated ids are not resolved, each row counts.

    Returns:
        catalog, model (its version); read = rows + rejected + unlabelled, where `rows` are those compared, and
        `trained_on` how many of them have a text that the model was trained on; reasons (rows by kind of reason for
        rejection; a row may have several); accepted (rows and accuracy of those that the
        policy lets pass unseen); accuracy, macro_f1, weighted_f1 and labels of the whole label, and for a label path
        `levels`: the same by level, named by its column.

    Raises:
        UnknownCatalog, SourceError: as for an ingest; here the label column is needed.
        NoChampion: nothing to evaluate.
        NotEnoughLabels: not a single usable row has a label.
    """
    registry.load(catalog)
    champion = published_champion(get_home(), catalog)
    model = artifact.load(champion.folder)
    spec = model.spec  # what it learnt from, whatever the TOML says by now
    rules = policy.published_policy(get_home(), catalog)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    parts = [pl.DataFrame(schema=_ANSWERS)]
    strange = [pl.lit(None, pl.String).alias(name) for name in model.unlearnt if name in spec.text_fields]
    for good in _usable_rows(spec, source, counts, reasons):
        labelled = good.filter(pl.col("known_path").is_not_null())
        counts["unlabelled"] += good.height - labelled.height
        if labelled.is_empty():
            continue
        answers = model.predict(labelled, reasons=False)
        decided = policy.decide(answers, rules, champion.version)
        shown = decided.select("predicted_path", "label_path", "decision")
        learnt = text_hashes(labelled.with_columns(strange), spec) if strange else labelled["text_hash"]
        hashes = labelled.select("text_hash", learnt.alias("learnt_hash"), "known_path")
        parts.append(hashes.hstack(shown))
    compared = pl.concat(parts)
    if compared.is_empty():
        raise NotEnoughLabels(
            f"none of {counts['read']:,} rows can be compared: {counts['rejected']:,} rejected, "
            f"{counts['unlabelled']:,} without a label",
            where=", ".join(source),
            hint="evaluate takes a file whose labels are known; to predict for this one: aisle score"
            if counts["unlabelled"] >= counts["rejected"]
            else f"mend the file; rejected most often: {next(iter(reasons.most_common(1)))[0]}",
        )
    head = {"catalog": catalog, "model": champion.version, "read": counts["read"], "rows": compared.height}
    head["trained_on"] = _trained_on(compared, catalog, champion.version, model)
    head |= {"rejected": counts["rejected"], "reasons": dict(reasons.most_common())}
    head |= {"unlabelled": counts["unlabelled"], "accepted": _accepted(compared)}
    return head | _compare(compared, spec, counts["rejected"])


def _usable_rows(
    spec: CatalogSpec, source: list[str], counts: Counter[str], reasons: Counter[str]
) -> Iterator[pl.DataFrame]:
    """Batches of rows that an ingest would store; counts what was read and rejected, and for which reasons."""
    with tempfile.TemporaryDirectory(prefix="aisle-") as staging:
        for file in resolve(source, spec, Path(staging)):
            yield from _usable_rows_of(file, spec, counts, reasons)


def _usable_rows_of(
    file: SourceFile, spec: CatalogSpec, counts: Counter[str], reasons: Counter[str]
) -> Iterator[pl.DataFrame]:
    for batch in read(file, spec, get_settings().batch_rows, need_label=True):
        decided = decide(normalise(batch.frame, spec, file.name), spec)
        counts.update(read=batch.read, rejected=batch.rejects.height + decided.rejects.height)
        for rejects in (batch.rejects, decided.rejects):
            reasons.update(reason_kinds(rejects))
        yield decided.good


def _trained_on(compared: pl.DataFrame, catalog: str, version: str, model: Model) -> int:
    """How many of the texts the model has learnt from. Prototypes learn from the hold-out too.

    A file may fill a text field that the training file did not have: without that field it is the same text.
    """
    known = pl.Series([False]).new_from_index(0, compared.height)
    for texts in (compared["text_hash"], compared["learnt_hash"]):
        own = taught(get_home(), catalog, version, texts)
        known |= own if model.recipe.is_prototype else own & ~holdout_mask(texts, model.spec.holdout.share)
    return int(known.sum())


def _accepted(compared: pl.DataFrame) -> dict[str, Any]:
    accepted = compared.filter(pl.col("decision") == "accepted")
    # A path that stops early is right if the known one goes that way.
    on_the_way = pl.col("known_path").list.head(pl.col("label_path").list.len()) == pl.col("label_path")
    right = accepted.filter(on_the_way).height
    return {"rows": accepted.height, "accuracy": right / accepted.height if accepted.height else None}


def _compare(compared: pl.DataFrame, spec: CatalogSpec, rejected: int) -> dict[str, Any]:
    metrics = dict(evaluate(compared["known_path"], compared["predicted_path"], spec.levels))
    metrics.pop("rows", None)
    if "levels" in metrics:
        levels = metrics["levels"].items()
        metrics["levels"] = {name: {"rows": compared.height, "rejected": rejected} | level for name, level in levels}
    return metrics
