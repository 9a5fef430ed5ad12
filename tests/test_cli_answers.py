"""What the command says when it is asked about products: evaluate, predict, explain."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catalogs.demo import generate
from tests.commands import PROJECT, ROWS, digests


def test_evaluate_counts_every_row_and_writes_nothing(shop: Path, aisle: Any):
    home = Path(os.environ["AISLE_HOME"])
    before = digests(home)
    code, out, _ = aisle("evaluate", "demo", str(shop), "--json")
    result = json.loads(out)
    assert code == 0
    assert digests(home) == before
    assert result["rows"] + result["rejected"] + result["unlabelled"] == ROWS
    assert {"accuracy", "macro_f1", "weighted_f1"} < set(result)
    assert sum(label["support"] for label in result["labels"].values()) == result["rows"]
    assert result["accuracy"] > 0.5
    assert "labelled rows compared" in aisle("evaluate", "demo", str(shop))[1]


def test_evaluate_warns_of_rows_that_the_model_was_trained_on(shop: Path, aisle: Any, tmp_path: Path):
    known = json.loads(aisle("evaluate", "demo", str(shop), "--json")[1])
    (model,) = json.loads(aisle("sql", "SELECT rows, holdout_rows FROM models", "--json")[1])
    assert model["rows"] <= known["trained_on"] <= known["rows"] - model["holdout_rows"], "repeated ids all count"
    said = aisle("evaluate", "demo", str(shop))[1]
    assert f"warning: v1 was trained on the text of {known['trained_on']:,} rows of these" in said
    new = tmp_path / "new.jsonl"
    new.write_bytes(gzip.decompress(shop.read_bytes()).replace(b'"title":"', b'"title":"Anew '))
    unseen = json.loads(aisle("evaluate", "demo", str(new), "--json")[1])
    assert (unseen["rows"] > 1_000, unseen["trained_on"]) == (True, 0)
    assert "warning" not in aisle("evaluate", "demo", str(new))[1]


def test_evaluate_needs_labels(shop: Path, aisle: Any, tmp_path: Path):
    file = tmp_path / "unlabelled.jsonl"
    file.write_text('{"id": "1", "title": "Red boots", "category": null}\n')
    code, out, _ = aisle("evaluate", "demo", str(file), "--json")
    assert code == 1
    assert json.loads(out)["error"] in {"NotEnoughLabels", "ColumnMissing"}


def test_predict_answers_pairs_lines_and_the_warehouse_alike(shop: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch):
    sql = (
        "SELECT p.label, p.confidence, d.* FROM predictions p JOIN products d USING (catalog, product_id) "
        "WHERE price IS NOT NULL AND brand IS NOT NULL AND also_buy IS NULL LIMIT 5"
    )
    known = json.loads(aisle("sql", sql, "--json")[1])
    assert known
    lines = [json.dumps({name: row[name] for name in ("title", "description", "brand", "price")}) for row in known]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n\n"))
    answers = [json.loads(line) for line in aisle("predict", "demo", "--json")[1].splitlines()]
    assert [(a["label"], a["confidence"]) for a in answers] == [(row["label"], row["confidence"]) for row in known]
    pairs = [f"{name}={value}" for name, value in json.loads(lines[0]).items() if value is not None]
    code, out, _ = aisle("predict", "demo", *pairs, "--json")
    assert code == 0
    assert json.loads(out)["confidence"] == known[0]["confidence"]
    assert json.loads(out)["decision"] in {"accepted", "review"}


BAD_LINES = {
    2: ("[1]", "must be an object"),
    3: ("{broken", "is not JSON"),
    4: ('{"price": 3}', "title"),
    5: ('{"title": " "}', "title"),
    6: ('{"title": {"a": 1}}', "title must be text, or a list of texts"),
}
"""Line of stdin to what stands there, and what is said of it."""


def test_predict_goes_on_after_lines_that_it_cannot_answer(shop: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch):
    lines = ['{"title": "Red rubber boots"}', *(line for line, _ in BAD_LINES.values()), '{"title": "A lamp"}']
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    code, out, _ = aisle("predict", "demo", "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [answer.get("line") for answer in answers] == [None, *BAD_LINES, None]
    assert answers[0]["label"]
    assert answers[-1]["label"]
    for answer in answers[1:-1]:
        assert set(answer["problem"]) == {"error", "message", "where", "hint"}
        assert BAD_LINES[answer["line"]][1] in answer["problem"]["message"]
        assert answer["problem"]["where"] == f"stdin, line {answer['line']}"
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    code, out, err = aisle("predict", "demo")
    assert (code, len(out.splitlines()), len(err.splitlines())) == (1, 4, len(BAD_LINES))
    assert "stdin, line 2: must be an object" in err


def test_a_line_that_is_not_utf8_costs_predict_only_itself(shop: Path):
    lines = b'{"title": "boots"}\n{"title": "caf\xe9"}\n{"title": "lamp"}\n'
    command = [sys.executable, "-m", "aisle", "predict", "demo", "--json"]
    done = subprocess.run(command, cwd=PROJECT, input=lines, capture_output=True, check=False)
    first, second, third = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 1
    assert second["problem"]["message"] == "is not UTF-8"
    assert first["label"]
    assert third["label"]


@pytest.mark.parametrize("pairs", [["price=3"], ["title="], ["title= ", "price=3"]])
def test_predict_refuses_a_product_without_text_as_the_api_does(shop: Path, aisle: Any, pairs: list[str]):
    code, out, err = aisle("predict", "demo", *pairs, "--json")
    assert code == 2
    assert len(out.splitlines()) == 1, "predict prints one object a line, errors too"
    assert "title" in json.loads(out)["message"]
    assert "title" in err


def test_an_error_of_predict_is_one_line_of_json(home: Path, aisle: Any):
    code, out, _ = aisle("predict", "demo", "title=boots", "--json")
    assert (code, len(out.splitlines())) == (1, 1)
    assert json.loads(out)["error"] == "NoChampion"


def test_evaluate_says_why_rows_were_rejected(shop: Path, aisle: Any):
    result = json.loads(aisle("evaluate", "demo", str(shop), "--json")[1])
    assert result["rejected"] > 0
    assert sum(result["reasons"].values()) >= result["rejected"]
    commonest, rows = next(iter(result["reasons"].items()))
    assert rows == max(result["reasons"].values())
    assert f"rejected:\n  {rows} rows: {commonest}\n" in aisle("evaluate", "demo", str(shop))[1]


def test_explain_prints_the_stored_reasons(shop: Path, aisle: Any):
    sql = "SELECT product_id, label, reasons FROM predictions WHERE len(reasons) > 0 LIMIT 1"
    (stored_row,) = json.loads(aisle("sql", sql, "--json")[1])
    code, out, _ = aisle("explain", "demo", stored_row["product_id"])
    assert code == 0
    assert stored_row["label"] in out
    assert all(reason["token"] in out for reason in stored_row["reasons"])
    found = json.loads(aisle("explain", "demo", stored_row["product_id"], "--json")[1])
    assert found["prediction"]["reasons"] == stored_row["reasons"]
    assert json.loads(aisle("explain", "demo", "no such id", "--json")[1])["error"] == "UnknownProduct"


def test_evaluate_knows_a_text_also_where_the_file_fills_a_field_that_training_lacked(
    home: Path, aisle: Any, tmp_path: Path
):
    records = []
    for line in gzip.decompress(generate(tmp_path, 400).read_bytes()).splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the shop has broken lines too
            records.append(json.loads(line))
    bare, whole = tmp_path / "bare.jsonl", tmp_path / "whole.jsonl"
    whole.write_text("\n".join(map(json.dumps, records)))
    bare.write_text("\n".join(json.dumps(record | {"description": None}) for record in records))
    assert (aisle("ingest", "demo", str(bare))[0], aisle("train", "demo", "--promote")[0]) == (0, 0)
    known, fuller = (
        json.loads(aisle("evaluate", "demo", str(file), "--json")[1])["trained_on"] for file in (bare, whole)
    )
    assert known > 200
    assert fuller == known
