"""Every benchmark runs at a tiny size, writes its table, and leaves no rival out silently. No test looks at times."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, RESULTS, main
from benchmarks.chart import Panel, draw
from benchmarks.results import Column, Report, write
from tests.conftest import PROJECT

ROWS = 400
PROMISED = {
    "api": [
        "Aisle linear-fast, one worker: single",
        "Aisle linear-fast, one worker: batches",
        "Aisle linear-fast, one worker: batches, labels only",
        "Aisle linear-fast, one worker: started",
        "Aisle linear-fast, two workers: single",
        "Aisle linear, one worker: single",
        "Aisle linear, two workers: batches",
        "Aisle linear, one worker: 0.02 minutes of both",
        "plain: FastAPI + joblib: started",
        "plain: FastAPI + joblib: single",
        "plain: FastAPI + joblib: batches",
    ],
    "bulk": [
        "Aisle linear-fast, 400",
        "Aisle linear-fast, 32",
        "Aisle linear, 400",
        "Aisle linear, 32",
        "plain: words",
        "plain: words + bigrams",
        "plain: linear-fast's features",
        "plain: linear's features",
    ],
    "incremental": [
        "first run",
        "1 % changed",
        "the same file again",
        "another champion: all scored again",
        "aisle models rollback",
        "under that champion, 1 % more changed",
        "aisle models rollback, a night later",
        "publish alone",
    ],
    "runners": ["threads", "processes", "dask"],
    "labels": [
        "Aisle linear-fast",
        "Aisle linear-fast, one text",
        "Aisle linear",
        "plain: words + bigrams",
        "plain: words",
        "fastText predict-prob",
    ],
    "training": [
        "Aisle linear-fast",
        "Aisle linear-fast, 5 epochs",
        "Aisle linear",
        "plain: words + bigrams",
        "fastText supervised",
    ],
    "single": [
        "Aisle linear-fast, label and reasons",
        "Aisle linear-fast, raw record",
        "Aisle linear, label and reasons",
        "plain: words + bigrams",
    ],
    "vectoriser": ["generated, words", "generated, words + bigrams"],
    "solvers": ["generated: LinearSVC", "generated: AdaGradClassifier", "generated: SGDClassifier, averaged"],
    "accuracy": [],
    "calibration": [],
    "paths": [],
    "gate": ["demo: retrained, all"],
    "drift": [f"Aisle: monitor after {ROWS:,} arrivals"],
    "review": [],
    "fields": ["generated: all fields apart", "generated: without title", "generated: without brand"],
}
REAL = ["newsgroups", "asos", "elo7", "gpc", "myntra", "amazon_india"]


def measure(name: str, folder: Path) -> dict:
    tiny = ["--rows", str(ROWS), "--repeats", "1", "--minutes", "0.02"]
    assert main([name, *tiny, "--results", str(folder)]) == 0
    for kind in ("json", "md", "svg"):
        assert (folder / f"{name}.{kind}").is_file()
    text = "".join((folder / f"{name}.{kind}").read_text() for kind in ("json", "md", "svg"))
    assert str(PROJECT) not in text
    assert "/tmp" not in text
    ET.fromstring((folder / f"{name}.svg").read_text())
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_each_promised_row_is_measured_or_says_why_it_is_not(name: str, tmp_path: Path):
    found = measure(name, tmp_path)

    rows = {row["way"]: row for row in found["rows"]}
    assert set(PROMISED[name]) <= set(rows)
    for row in rows.values():
        numbers = [value for value in row.values() if isinstance(value, int | float)]
        assert numbers or row["status"].startswith(("not installed", "skipped"))
    if name in {"vectoriser", "solvers"}:
        assert all(any(way.startswith(real) for way in rows) for real in REAL)
    if name == "accuracy":
        assert all(any(way.startswith(real) for way in rows) for real in REAL if real != "myntra")
    if name == "vectoriser":
        assert max(row.get("difference", 0) for row in rows.values()) <= 1e-6
    if name == "bulk":
        assert rows["Aisle linear-fast, 400"]["answered"] >= ROWS * 0.9
    if name == "incremental":
        assert 0 < rows["1 % changed"]["scored"] <= ROWS * 0.05
        assert rows["the same file again"]["scored"] == 0
        assert rows["another champion: all scored again"]["scored"] > ROWS * 0.9
    if name in {"labels", "training"}:
        assert rows["Aisle linear-fast"]["accuracy"] > 0.5
    assert {"cores_used", "memory_gib", "python", "libraries", "date"} <= set(found["machine"])


def test_a_rival_that_is_not_installed_is_named_loudly(tmp_path: Path):
    report = Report("any", "Any", "About.", [Column("rate", "products/s")], charts=[("rate", "products/s")])
    report.add("Aisle", rate=10.0)
    report.missing("fastText")
    report.reach("as fast as fastText", report.value("fastText", "rate"), least=1)
    machine = {"libraries": {}, **dict.fromkeys(("date", "system", "processor", "python"), "")}
    machine |= dict.fromkeys(("cores", "cores_used", "memory_gib", "load_at_start"), 1)

    write(report, tmp_path, machine)

    assert "| fastText | **not installed** |" in (tmp_path / "any.md").read_text()
    assert "| as fast as fastText | not measured | **not met** |" in (tmp_path / "any.md").read_text()
    assert "not installed" in (tmp_path / "any.svg").read_text()


def test_a_chart_shows_every_name_whole_and_which_bars_are_ours():
    ways = ("linear, without naive Bayes", "linear-fast", "plain words and bigrams")
    rows = [{"way": f"{name}: {way}", "rate": 1.0} for name in ("newsgroups, stripped", "asos") for way in ways]
    panel = Panel("products/s", "rate", ".1f")
    names = [f"an ungrouped way with a name of many, many words: {end}" for end in ("one", "two")] + ["Aisle"]
    for drawn, ours in (
        (draw("Any", rows, [panel], ["linear"]), [True, True, False] * 2),
        (draw("Any", [{"way": name, "rate": 1.0} for name in names], [panel]), [False, False, True]),
    ):
        picture = ET.fromstring(drawn)
        texts = [text for text in picture.iter("{http://www.w3.org/2000/svg}text") if text.get("text-anchor") == "end"]
        assert all(float(text.get("x", 0)) - 7 * len(text.text or "") > 0 for text in texts)
        fills = [bar.get("fill") for bar in picture.iter("{http://www.w3.org/2000/svg}rect")][1:]
        assert [fill == fills[ours.index(True)] for fill in fills] == ours
    assert [text.text for text in ET.fromstring(draw("Any", rows, [panel])).iter()].count("asos") == 1


def test_the_command_names_every_benchmark_and_refuses_others():
    command = [sys.executable, "-m", "benchmarks"]
    helped = subprocess.run([*command, "--help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert all(f"\n  {name} " in helped for name in BENCHMARKS)
    assert set(BENCHMARKS) == set(PROMISED)
    refused = subprocess.run([*command, "nosuch"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "there is no benchmark nosuch" in refused.stderr


def test_kept_results_belong_to_a_benchmark_and_name_no_machine():
    for path in RESULTS.glob("*.json"):
        if path.stem in BENCHMARKS:
            text = "".join(own.read_text() for own in RESULTS.glob(f"{path.stem}.*") if own.suffix != ".png")
            assert str(PROJECT) not in text
            assert json.loads(path.read_text())["rows"]
