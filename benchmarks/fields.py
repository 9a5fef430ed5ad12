"""What each field is worth: the default recipe with all, without one, with all text as one field, and at one weight."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Work, measured
from benchmarks.options import Options
from benchmarks.products import canonical, make
from benchmarks.protocols import PROTOCOLS, Split, answered
from benchmarks.results import Column, Report

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["compare", "run"]

GENERATED = "generated"
GENERATED_ROWS = 30_000
REAL = ("asos", "elo7", "amazon_india", "gpc")
# The first split of a set is enough to tell what a field adds, but for asos, whose folds are small.
FOLDS = {"asos": 8}
ALL, AS_ONE, WITHOUT = "all fields apart", "all text as one field", "without "
EQUAL = "all fields at weight 1"


def run(options: Options) -> Report:
    """Measure."""
    report = Report(
        "fields",
        "What each field is worth",
        "The recipe `linear` with all fields of the catalogue, without one of them, with all text joined to one field "
        "beside the others, and with all at one weight where the catalogue has several. The difference is that to all "
        "fields apart, in points of a hundred.",
        [
            Column("rows", "rows measured"),
            Column("accuracy", "accuracy", ".4f"),
            Column("macro_f1", "macro F1", ".4f"),
            Column("accuracy_points", "accuracy, difference", "+.2f"),
            Column("macro_f1_points", "macro F1, difference", "+.2f"),
        ],
        charts=(("accuracy", "accuracy"), ("macro_f1", "macro F1")),
    )
    source = make(options.folder, options.size(GENERATED_ROWS), seed=0)
    there = {protocol.name for protocol in PROTOCOLS if protocol.is_there}
    for name in (*REAL, GENERATED):
        if name != GENERATED and name not in there:
            report.missing(name, "skipped: this real set is not beside the project")
            continue
        own = {"name": name, "generated": [source.catalog, str(source.path)], "rows": options.rows}
        options.say(f"fields: {name}")
        found = measured(compare, own).facts["ways"]
        whole = found[ALL]
        for way, facts in found.items():
            points = {f"{key}_points": 100 * (facts[key] - whole[key]) for key in ("accuracy", "macro_f1")}
            report.add(f"{name}: {way}", **facts, **({} if way == ALL else points))
    report.notes += [
        f"“{GENERATED}”: {source.maker}.",
        "No real set beside the project has ids or brands: what they are worth in the generated one, it decides.",
        "Real sets as in accuracy.md; elo7 and amazon_india on the first of their folds.",
    ]
    return report


def compare(name: str, generated: list[str], rows: int | None) -> Work:
    """Job: every way on one set."""
    spec, splits = _generated(*generated) if name == GENERATED else _real(name, rows)

    def work() -> dict[str, Any]:
        joined = _joined(splits, spec)
        return {
            "ways": {way: _facts(joined if way == AS_ONE else splits, own) for way, own in _ways(spec).items()},
        }

    return work


def _ways(spec: CatalogSpec) -> dict[str, CatalogSpec]:
    """For each way the catalogue with the fields that are read."""

    def without(*names: str) -> CatalogSpec:
        return spec.model_copy(update={"fields": [field for field in spec.fields if field.name not in names]})

    ways = {ALL: spec}
    if len(spec.text_fields) > 1:
        ways[AS_ONE] = without(*spec.text_fields[1:])
    if any(field.weight != 1 for field in spec.fields):
        equal = [field.model_copy(update={"weight": 1.0}) for field in spec.fields]
        ways[EQUAL] = spec.model_copy(update={"fields": equal})
    if len(spec.fields) > 1:
        ways |= {WITHOUT + field.name: without(field.name) for field in spec.fields}
    return ways


def _joined(splits: list[Split], spec: CatalogSpec) -> list[Split]:
    """The same products with all their text in the first text field."""
    import polars as pl

    text = pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True).alias(spec.text_fields[0])
    return [Split(split.train.with_columns(text), split.test.with_columns(text)) for split in splits]


def _facts(splits: list[Split], spec: CatalogSpec) -> dict[str, Any]:
    import polars as pl

    from classifier.metrics import evaluate
    from classifier.recipes import resolve

    given = pl.concat([answered(split, spec, resolve(spec, "linear")) for split in splits])
    truth = pl.concat([split.test["known_path"] for split in splits])
    metrics = evaluate(truth, given, spec.levels)
    return {"rows": len(truth), "accuracy": metrics["accuracy"], "macro_f1": metrics["macro_f1"]}


def _real(name: str, rows: int | None) -> tuple[CatalogSpec, list[Split]]:
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    spec, frame = protocol.read(protocol.train)
    if rows:
        frame = frame.sample(min(rows, frame.height), seed=0)
    return spec, list(itertools.islice(protocol.splits(frame), FOLDS.get(name, 1)))


def _generated(catalog: str, path: str) -> tuple[CatalogSpec, list[Split]]:
    from classifier.holdout import holdout_mask

    spec, frame = canonical(Path(path), catalog)
    held = holdout_mask(frame["text_hash"], spec.holdout.share)
    return spec, [Split(frame.filter(~held), frame.filter(held))]
