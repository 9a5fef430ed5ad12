"""The command `aisle`: what it prints, how it fails, and its exit codes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aisle.cli import run
from catalogs.demo import generate
from core.settings import get_settings
from tests import stored

PROJECT = Path(__file__).resolve().parent.parent
ROWS = 1_500
"""Rows of the demo shop: enough for every label to be learnt, few enough for seconds."""


@pytest.fixture
def aisle(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line in this process; gives exit code, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which the demo shop's first day was run; gives the day's file."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("AISLE_", "PREFECT_"))]:
            environment.delenv(name)
        environment.setenv("AISLE_HOME", str(folder / "var"))
        get_settings.cache_clear()
        source = generate(folder, ROWS)
        assert run(["run", "demo", str(source)]) == 0
        yield source
    get_settings.cache_clear()


@pytest.fixture
def shelf(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with two predictions of the catalogue `shelf`."""
    monkeypatch.setenv("AISLE_CATALOGS", str(stored.SHELVES))
    get_settings.cache_clear()
    stored.night([("1", "a long title", "Books"), ("2", "short", "Toys")])


def process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "aisle", *words]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, **options)


def digests(folder: Path) -> dict[str, str]:
    """What every table, model and report holds; locks may come and go."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "locks" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --- quick answers


def test_help_imports_nothing_that_is_slow():
    code = "import sys; from aisle.cli import run; run(['--help']); print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for heavy in ("prefect", "polars", "duckdb", "sklearn", "pydantic", "rich", "evidently", "great_expectations"):
        assert f"'{heavy}'" not in out


def test_version_is_that_of_the_project(aisle: Any):
    code, out, _ = aisle("--version")
    assert code == 0
    assert f'version = "{out.split()[1]}"' in (PROJECT / "pyproject.toml").read_text()


# --- failing


def test_a_named_error_tells_what_where_and_what_to_do(home: Path, aisle: Any):
    code, out, err = aisle("run", "newsgroup", "posts.jsonl")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "'newsgroup'" in err
    assert " hint: did you mean newsgroups" in err
    assert "Traceback" not in err


def test_with_json_a_named_error_is_an_object_on_stdout_too(home: Path, aisle: Any):
    code, out, err = aisle("models", "list", "--json")
    assert code == 1
    assert json.loads(out)["error"] == "NothingPublished"
    assert set(json.loads(out)) == {"error", "message", "where", "hint"}
    assert "error: " in err


@pytest.mark.parametrize(
    "words",
    [
        ["ingest"],
        ["ingest", "demo"],
        ["nonsense"],
        ["train", "demo", "--set", "model.C"],
        ["demo", "--rows", "0"],
        ["serve", "--port", "99999"],
        ["predict", "demo", "tittle=x"],
    ],
)
def test_wrong_options_exit_with_2(home: Path, aisle: Any, words: list[str]):
    code, out, err = aisle(*words)
    assert (code, out) == (2, "")
    assert "Usage: aisle" in err
    assert json.loads(aisle(*words, "--json")[1])["error"] == "UsageError"


def test_a_wrong_setting_is_named_without_its_value(home: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AISLE_WORKERS", "swordfish")
    get_settings.cache_clear()
    code, _, err = aisle("catalogs")
    assert code == 2
    assert "AISLE_WORKERS" in err
    assert "swordfish" not in err


def test_what_nobody_expected_is_one_line_and_a_trace_only_when_asked(
    home: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch
):
    def broken() -> list[str]:
        raise ZeroDivisionError("out of\nthe blue")

    monkeypatch.setattr("catalogs.registry.names", broken)
    code, _, err = aisle("catalogs")
    assert code == 1
    assert err.splitlines()[0] == "unexpected: ZeroDivisionError: out of the blue"
    assert "AISLE_LOG_LEVEL=debug" in err
    assert "Traceback" not in err

    monkeypatch.setenv("AISLE_LOG_LEVEL", "debug")
    get_settings.cache_clear()
    assert "Traceback" in aisle("catalogs")[2]


def test_an_installation_without_the_pipeline_says_so(home: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.partition(".")[0] in {"flows", "prefect", "tasks"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "core.orchestration", raising=False)
    monkeypatch.setitem(sys.modules, "prefect", None)  # as Python marks what cannot be imported
    code, _, err = aisle("train", "demo")
    assert code == 1
    assert "this installation has no prefect" in err
    assert "aisle[pipeline]" in err


def test_ctrl_c_exits_with_130(home: Path):
    command = [sys.executable, "-m", "aisle", "sql", "-"]
    waiting = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(3)  # it waits for stdin
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "Traceback" not in err


def test_a_reader_who_leaves_ends_it_quietly(home: Path):
    process("publish", env={**os.environ, "AISLE_HOME": str(home)})
    line = f'{sys.executable} -m aisle sql "SELECT * FROM range(200000)" --json | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", line], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "[\n", "")


# --- sql


def test_sql_prints_a_table_and_json(shelf: None, aisle: Any):
    sql = "SELECT product_id, label, confidence FROM predictions ORDER BY product_id"
    table = [
        "product_id  label  confidence",
        "──────────  ─────  ──────────",
        "1           Books         0.9",
        "2           Toys          0.9",
    ]
    assert aisle("sql", sql) == (0, "\n".join(table) + "\n", "")
    code, out, _ = aisle("sql", sql, "--json")
    assert code == 0
    assert json.loads(out)[0] == {"product_id": "1", "label": "Books", "confidence": 0.9}


def test_sql_json_holds_what_json_can_hold(home: Path, aisle: Any):
    aisle("publish")
    sql = (
        "SELECT 'NaN'::DOUBLE a, DATE '2026-01-02' b, [1, NULL] c, {'k': 1.5} d, 'é\n' e, "
        "170141183460469231731687303715884105727::HUGEINT f"
    )
    code, out, _ = aisle("sql", sql, "--json")
    assert code == 0
    assert json.loads(out) == [
        {"a": None, "b": "2026-01-02", "c": [1, None], "d": {"k": 1.5}, "e": "é\n", "f": 2**127 - 1}
    ]


def test_product_text_cannot_command_the_terminal(home: Path, aisle: Any):
    aisle("publish")
    _, out, _ = aisle("sql", "SELECT chr(27) || '[2J' || chr(7) || 'x\ny' AS title")
    assert out.splitlines()[2] == " [2J x y"


def test_a_long_answer_is_cut_on_screen_and_says_so(home: Path, aisle: Any):
    aisle("publish")
    _, out, err = aisle("sql", "SELECT * FROM range(1000)", "--rows", "10")
    assert len(out.splitlines()) == 12
    assert "990 more rows of 1,000" in err
    assert len(json.loads(aisle("sql", "SELECT * FROM range(1000)", "--json")[1])) == 1000


@pytest.mark.parametrize("sql", ["DROP VIEW predictions", "SELECT 1; SELECT 2", "SELECT * FROM '/etc/passwd'", "SELEC"])
def test_sql_only_reads(home: Path, aisle: Any, sql: str):
    aisle("publish")
    code, _, err = aisle("sql", sql)
    assert code == 1
    assert "error: sql: " in err


def test_sql_is_read_from_stdin(home: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch):
    aisle("publish")
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 42 AS answer"))
    assert json.loads(aisle("sql", "-", "--json")[1]) == [{"answer": 42}]


# --- catalogues


def test_catalogs_lists_the_built_in_ones_and_ones_own_even_a_broken_one(
    home: Path, aisle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "shoes.toml").write_text('title = "Shoes"\n')
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path))
    get_settings.cache_clear()
    code, out, _ = aisle("catalogs", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert {"amazon", "asos", "demo", "elo7", "newsgroups"} < set(found)
    assert "label: is missing" in found["shoes"]["error"]
    assert f"aisle catalogs check {tmp_path / 'shoes.toml'}" in found["shoes"]["title"]
    assert aisle("catalogs")[0] == aisle("catalogs", "list")[0] == 0


def test_check_names_every_problem_with_its_key(home: Path, aisle: Any, tmp_path: Path):
    file = tmp_path / "shoes.toml"
    file.write_text('title = "Shoes"\n[label]\ncolum = "kind"\n[[fields]]\nname = "t"\nkind = "txt"\n')
    code, _, err = aisle("catalogs", "check", str(file))
    assert code == 1
    assert "label.colum" in err
    assert "did you mean column" in err
    assert "fields[0].kind" in err
    assert aisle("catalogs", "check", "catalogs/builtin/demo.toml", "--json")[0] == 0


# --- a whole run


def test_run_says_where_every_row_went(shop: Path, aisle: Any):
    code, out, _ = aisle("sql", "SELECT * FROM conservation", "--json")
    assert code == 0
    assert next((row["read"], row["balanced"]) for row in json.loads(out)) == (ROWS, True)


def test_the_same_run_again_does_nothing_and_says_so(shop: Path, aisle: Any):
    code, out, _ = aisle("run", "demo", str(shop), "--json")
    result = json.loads(out)
    rows = result["rows"]
    assert code == 0
    assert {"catalog", "run_id", "rows", "model", "drift", "reports"} <= set(result)
    assert {"version", "accuracy", "macro_f1"} <= set(result["model"])
    assert isinstance(result["drift"]["drifted"], bool)
    assert rows["accepted"] == rows["review"] == rows["pending"] == rows["removed"] == rows["scored"] == 0
    assert rows["rejected"] + rows["repeated"] + rows["unchanged"] == rows["read"] == ROWS
    _, out, _ = aisle("run", "demo", str(shop))
    assert f"nothing new: {rows['unchanged']:,} rows unchanged, nothing re-scored" in out


def test_ingest_prints_what_became_of_the_rows(shop: Path, aisle: Any):
    code, out, err = aisle("ingest", "demo", str(shop))
    assert (code, err) == (0, "")
    for word in ("read", "stored", "unchanged", "repeated", "rejected", "removed"):
        assert word in out


def test_reports_are_there(shop: Path, aisle: Any):
    code, out, _ = aisle("report", "demo", "--json")
    assert code == 0
    found = json.loads(out)
    assert {"drift_catalogue", "validation"} <= {page["name"] for page in found["reports"]}
    assert all(Path(page["path"]).is_file() for page in [*found["reports"], {"path": found["index"]}])
    assert aisle("report", "demo", "--run", "never")[0] == 1


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


def test_a_bad_line_for_predict_is_named(shop: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"title": "x"}\n[1]\n'))
    code, _, err = aisle("predict", "demo")
    assert code == 1
    assert "stdin, line 2" in err


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


@pytest.mark.parametrize(
    ("content", "name", "error"),
    [
        (None, "gone.jsonl", "SourceMissing"),
        (b"", "empty.jsonl", "SourceEmpty"),
        (b"\x1f\x8b\x08\x00broken", "torn.jsonl.gz", "SourceCorrupt"),
        (b"this is\nno JSON\nat all\n", "prose.jsonl", "SourceFormat"),
        ('{"title": "caf\u00e9"}\n'.encode("utf-16"), "utf16.jsonl", "SourceEncoding"),
        (b'{"id": "1", "titel": "x", "category": "Toys"}\n', "typo.jsonl", "ColumnMissing"),
    ],
)
def test_a_bad_source_is_named_and_changes_nothing(
    shop: Path, aisle: Any, tmp_path: Path, content: bytes | None, name: str, error: str
):
    source = tmp_path / name
    if content is not None:
        source.write_bytes(content)
    home = Path(os.environ["AISLE_HOME"])
    before = digests(home)
    code, out, err = aisle("run", "demo", str(source), "--json")
    told = json.loads(out)
    assert (code, told["error"]) == (1, error), told
    assert name in told["where"]
    assert told["hint"]
    assert "Traceback" not in err
    assert digests(home) == before


def test_models_are_trained_refused_promoted_and_rolled_back(shop: Path, aisle: Any):
    worse = [
        "train",
        "demo",
        "--set",
        "words.min_rows=200",
        "--set",
        "subwords.shortest=0",
        "--set",
        "subwords.longest=0",
    ]
    code, out, _ = aisle(*worse, "--exit-code", "--json")
    assert (code, json.loads(out)["promoted"]) == (3, False)

    def status() -> dict[str, str]:
        return {m["model_version"]: m["status"] for m in json.loads(aisle("models", "list", "demo", "--json")[1])}

    assert status() == {"v1": "champion", "v2": "refused"}
    assert "words.min_rows" in aisle("models", "compare", "demo")[1]
    assert aisle("models", "reject", "demo", "v1")[0] == 1
    assert json.loads(aisle("models", "promote", "demo", "v2", "--why", "a test", "--json")[1])["champion"] == "v2"
    assert status() == {"v1": "former champion", "v2": "champion"}
    assert aisle("models", "promote", "demo", "v2")[0] == 1
    assert "2," not in aisle("score", "demo")[2]
    assert json.loads(aisle("models", "rollback", "demo", "--json")[1])["champion"] == "v1"
    assert json.loads(aisle("score", "demo", "--json")[1])["rows"]["scored"] == 0
    assert aisle("models", "reject", "demo", "v2", "--why", "worse")[0] == 0
    assert status() == {"v1": "champion", "v2": "rejected"}
    assert json.loads(aisle("models", "compare", "demo", "v9", "--json")[1])["error"] == "UnknownModel"


def test_score_with_a_source_ingests_it_first(shop: Path, aisle: Any, tmp_path: Path):
    file = tmp_path / "new.jsonl"
    rows = [{"id": f"new-{i}", "title": f"Garden hose {i} m", "category": None, "description": ""} for i in range(3)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    result = json.loads(aisle("score", "demo", str(file), "--json")[1])
    assert result["ingest"]["rows"]["stored"] == 3
    assert result["rows"]["scored"] == 3
    assert aisle("explain", "demo", "new-1")[0] == 0


def test_monitor_exits_with_3_when_there_is_drift_and_it_was_asked_to(shop: Path, aisle: Any):
    code, out, _ = aisle("monitor", "demo", "--exit-code", "--json")
    assert code == (3 if json.loads(out)["drifted"] else 0)
    assert aisle("monitor", "demo")[0] == 0


# --- long work


def test_progress_is_shown_on_a_terminal_and_only_there(shop: Path):
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "aisle", "ingest", "demo", str(shop)]
    running = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the other end was closed
            break
        shown += part
    out, _ = running.communicate()
    assert b"ingest demo" in shown
    assert b"read file" in shown
    assert b"\x1b" not in out


def test_serve_answers_until_it_is_stopped(shop: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "aisle", "serve", "--port", str(port), "--json"]
    serving = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = json.loads("".join(iter(serving.stdout.readline, "}\n")) + "}")["address"]
        answer = _get(f"{address}/health")
        assert answer.status_code == 200
        taken = process("serve", "--port", str(port))
        assert taken.returncode == 2
        assert f"127.0.0.1:{port}" in taken.stderr
    finally:
        serving.send_signal(signal.SIGTERM)
        _, err = serving.communicate(timeout=60)
    assert "Traceback" not in err


def test_serve_refuses_an_address_that_others_reach_without_keys(home: Path, aisle: Any):
    code, _, err = aisle("serve", "--host", "0.0.0.0")
    assert code == 2
    assert "AISLE_API_KEYS" in err


def _get(url: str) -> httpx.Response:
    """The answer, once the server is up."""
    for _ in range(120):
        try:
            return httpx.get(url)
        except httpx.ConnectError:
            time.sleep(0.5)
    pytest.fail(f"nobody answers at {url}")


@pytest.mark.slow
def test_under_prefect_a_named_error_is_told_once_and_without_a_trace(home: Path, tmp_path: Path):
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    done = process("ingest", "demo", "gone.jsonl", "--prefect", env=environment)
    assert done.returncode == 1
    assert done.stderr.count("no such file") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_demo_ends_with_a_query_that_works_as_pasted(home: Path, tmp_path: Path):
    done = process("demo", "--rows", "3000", "--home", str(tmp_path / "demo home"))
    assert done.returncode == 0, done.stderr
    for word in ("accepted", "majority", "plain tfidf", "day 30: ", "evaluation", "drift", "index"):
        assert word in done.stdout
    query = done.stdout.splitlines()[-1].strip()
    asked = subprocess.run(query, shell=True, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "accepted" in asked.stdout
