"""docs/analysis.md says what scripts/analysis measured, and nothing else."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import pytest

from benchmarks import analysis
from benchmarks.evaluated import condensed
from docs import analyse
from tests.conftest import PROJECT

# Names, and the confidence of every interval: no figures of a set.
WORDS = ["F1", "elo7", "2018", "95 % intervals", "U+FFFD"]


def prose() -> str:
    """What is written by hand: the template without its placeholders, tags and links."""
    text = analyse.TEMPLATE.read_text(encoding="utf-8")
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", text, flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", text)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_the_page_is_the_template_with_the_measured_figures():
    assert analyse.PAGE.read_text(encoding="utf-8") == analyse.render(analyse.figures()), "run scripts/docs"


def test_no_figure_is_written_by_hand():
    text = prose()
    for word in WORDS:
        text = text.replace(word, "")
    assert re.findall(r".*\d.*", text) == []


def test_other_figures_make_another_page():
    changed = copy.deepcopy(analyse.figures())
    changed["asos"]["evaluation"]["metrics"]["accuracy"] = 0.1234
    before, after = analyse.render(analyse.figures()), analyse.render(changed)
    assert "0.1234" in after
    assert "0.1234" not in before


def test_a_figure_that_nobody_measured_is_an_error():
    measured = analyse.figures()
    del measured["asos"]["evaluation"]["metrics"]
    with pytest.raises(jinja2.UndefinedError):
        analyse.render(measured)


def test_every_real_set_is_measured_and_has_a_section():
    page = analyse.PAGE.read_text(encoding="utf-8")
    assert [one.catalog for one in analysis.SETS] == list(analyse.figures())
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(analyse.figures())


def test_the_kept_figures_name_no_machine_and_hold_no_product():
    text = analyse.FIGURES.read_text(encoding="utf-8")
    for secret in (str(PROJECT), "/tmp", "/home", "@", "example", "product_id"):
        assert secret not in text, secret
    assert len(numbers(json.loads(text))) > 500


def test_a_set_that_is_absent_keeps_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    kept = analyse.FIGURES.read_text(encoding="utf-8")
    for name in ("FIGURES", "PAGE"):
        path = tmp_path / getattr(analyse, name).name
        path.write_text(getattr(analyse, name).read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(analyse, name, path)
    monkeypatch.setattr(analysis, "SHARED", tmp_path / "nowhere")

    assert analysis.main([]) == 0

    assert analyse.FIGURES.read_text(encoding="utf-8") == kept
    assert analyse.PAGE.read_text(encoding="utf-8") == analyse.render(analyse.figures())
    assert (
        "gpc is skipped, mwpd_gpc/train.jsonl.gz is not beside the project: its figures stay" in capsys.readouterr().out
    )


def test_the_figures_of_an_evaluation_are_those_of_its_report(shop: Path, aisle: Any):
    del shop  # its home is the one that the command looks at
    code, out, _ = aisle("train", "demo", "--promote", "--json")
    assert code == 0
    folder = Path(json.loads(out)["reports"]["evaluation"]).parent
    report = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    issues = pl.read_csv(folder / "label_issues.csv", infer_schema_length=0).to_dicts()

    found = condensed(report, issues)

    assert found["metrics"]["accuracy"] == report["metrics"]["accuracy"]
    assert found["labels"]["held"] == sum(row["support"] > 0 for row in report["metrics"]["labels"].values())
    assert found["errors"]["count"] == round(report["metrics"]["rows"] * (1 - report["metrics"]["accuracy"]))
    assert sum(level["accepted_count"] + level["refused_count"] for level in found["thresholds"]) == len(
        report["thresholds"]
    )
    for level in found["thresholds"]:
        assert sum(level["refused"].values()) == level["refused_count"]
    assert found["label_issues"]["count"] == len(issues)
