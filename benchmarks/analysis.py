"""The figures of docs/analysis.md: every real set ingested, trained on and evaluated. scripts/analysis runs it.

A set is a run of the command in a home of its own, as a person would do it. What it finds goes into
results/analysis.json; a set that does not lie beside the project keeps the figures that stand there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.evaluated import condensed
from benchmarks.faults import faults
from benchmarks.machine import describe
from benchmarks.products import SHARED
from docs import analyse

__all__ = ["SETS", "RealSet", "main"]

_PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class RealSet:
    """A real set.

    Attributes:
        catalog: its catalogue.
        source: file to ingest, below the real data.
        test: labelled file that no model has seen; None where there is none.
        study: whether learning curve, fields and doubtful labels are asked for however long they take.
        labelled: whether its products have labels of the task.
    """

    catalog: str
    source: str
    test: str | None = None
    study: bool = False
    labelled: bool = True


SETS = (
    RealSet("newsgroups", "newsgroups/train.jsonl.gz", "newsgroups/test.jsonl.gz", study=True),
    RealSet("asos", "asos/exercise_train.tsv", study=True),  # the labels of exercise_test.tsv are kept back
    # test_products.csv repeats products of products.csv: it measures nothing.
    RealSet("elo7", "elo7/products.csv", study=True),
    RealSet("amazon_india", "amazon_india/products.parquet"),
    RealSet("gpc", "mwpd_gpc/train.jsonl.gz", "mwpd_gpc/validation.jsonl.gz"),
    RealSet("myntra", "myntra/styles.csv"),
    RealSet("amazon", "amazon2018/meta_Magazine_Subscriptions.json.gz", labelled=False),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the sets that were asked for; 1 when one failed. What was measured before it is kept."""
    asked = _parser().parse_args(arguments)
    failed = []
    for one in SETS:
        if asked.sets and one.catalog not in asked.sets:
            continue
        if not (SHARED / "data" / one.source).is_file():
            print(f"analysis: {one.catalog} is skipped, {one.source} is not beside the project: its figures stay")
            continue
        print(f"analysis: {one.catalog}", flush=True)
        try:
            if asked.homes:
                figures = _measure(one, asked.homes.resolve() / one.catalog)
            else:
                with tempfile.TemporaryDirectory(prefix="analysis-") as folder:
                    figures = _measure(one, Path(folder))
            _keep(one.catalog, figures)
        except subprocess.CalledProcessError as error:
            print(f"analysis: {one.catalog} failed: {error}\n{error.stderr}", file=sys.stderr)
            failed.append(one.catalog)
    analyse.write()
    print("analysis: wrote docs/analysis.md; read it again: its words were written for the figures before")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/analysis",
        description="Measure the real sets beside the project (../shared/data); write benchmarks/results/analysis.json "
        "and docs/analysis.md. All of them take about a quarter of an hour.",
    )
    names = [one.catalog for one in SETS]
    parser.add_argument(
        "sets", nargs="*", choices=[*names, []], metavar="SET", help=f"{', '.join(names)}; default: all"
    )
    parser.add_argument(
        "--homes", type=Path, metavar="FOLDER", help="keep what is trained here, and train nothing that is here again"
    )
    return parser


def _keep(catalog: str, figures: dict[str, Any]) -> None:
    """Put a set's figures in the place of those that were there; the others stay."""
    kept = analyse.figures() if analyse.FIGURES.exists() else {}
    kept[catalog] = figures
    ordered = {one.catalog: kept[one.catalog] for one in SETS if one.catalog in kept}
    text = json.dumps(ordered, indent=1, ensure_ascii=False, allow_nan=False)
    analyse.FIGURES.write_text(text + "\n", encoding="utf-8")


def _measure(one: RealSet, home: Path) -> dict[str, Any]:
    """Everything of a set."""
    data = SHARED / "data"
    machine = describe()
    found: dict[str, Any] = {"measured": {key: machine[key] for key in ("date", "python", "libraries")}}
    ingested = _aisle(home, "ingest", one.catalog, str(data / one.source))
    found["ingest"] = {**ingested["rows"], "warnings": ingested["warnings"]}
    if not one.labelled:
        return found | _unlabelled(one.catalog, Path(ingested["reports"]["validation"]))
    trained = _aisle(home, "train", one.catalog, *(["--study"] if one.study else []))
    found["evaluation"] = _evaluation(Path(trained["reports"]["evaluation"]).parent)
    if one.test:
        found["test"] = _tested(_aisle(home, "evaluate", one.catalog, str(data / one.test)))
    return found | {"data": faults(one.catalog, one.source)}


def _aisle(home: Path, *words: str) -> Any:
    """What a command prints with --json, in that home and with no other setting; an answer that lies there is used."""
    answer = home / "answers" / f"{words[0]}.json"
    if not answer.exists():
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AISLE_", "PREFECT_"))}
        done = subprocess.run(
            [sys.executable, "-m", "aisle", *words, "--json"],
            env=kept | {"AISLE_HOME": str(home)},
            cwd=_PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        answer.parent.mkdir(parents=True, exist_ok=True)
        answer.write_text(done.stdout, encoding="utf-8")
    return json.loads(answer.read_text(encoding="utf-8"))


def _evaluation(folder: Path) -> dict[str, Any]:
    issues = folder / "label_issues.csv"
    listed = pl.read_csv(issues, infer_schema_length=0).to_dicts() if issues.exists() else []
    return condensed(json.loads((folder / "evaluation.json").read_text(encoding="utf-8")), listed)


def _tested(found: dict[str, Any]) -> dict[str, Any]:
    kept = ("rows", "rejected", "unlabelled", "accepted", "accuracy", "macro_f1", "weighted_f1")
    levels = [
        {"name": name, **{key: level[key] for key in ("accuracy", "macro_f1", "weighted_f1")}}
        for name, level in found.get("levels", {}).items()
    ]
    mean = sum(level["weighted_f1"] for level in levels) / len(levels) if levels else None
    return {key: found[key] for key in kept} | {"levels": levels, "mean_weighted_f1": mean}


def _unlabelled(catalog: str, page: Path) -> dict[str, Any]:
    """Why rows were rejected, and which labels the task has beside those that the file has."""
    from catalogs import registry

    validation = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    spec = registry.load(catalog)
    label = next(column for column in validation["columns"] if column["kind"] == "label")
    ids = next(column for column in validation["columns"] if column["kind"] == "id")
    return {
        "rules": {rule["name"]: rule["failed"] for rule in validation["rules"] if rule["failed"]},
        "allowed": len(spec.label.allowed or []),
        "ignored": len(spec.label.ignored),
        "found_labels": label["distinct"],
        "distinct_ids": ids["distinct"],
        "labels_of_task": sum(example in (spec.label.allowed or []) for example in label["examples"]),
    }


if __name__ == "__main__":
    sys.exit(main())
