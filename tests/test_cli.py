"""The command `aisle`: what it prints, how it fails, and its exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from aisle import running
from core import memory
from core.errors import HomeUnusable
from core.settings import get_settings
from tests.commands import ROWS, digests, process
from warehouse.home import Home

PROJECT = Path(__file__).resolve().parent.parent


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


def test_bytes_that_are_no_text_never_reach_what_is_printed(home: Path, tmp_path: Path):
    name = os.fsencode(tmp_path) + b"/\x89.csv"
    command = [sys.executable, "-m", "aisle", "ingest", "demo", name, "--json"]
    environment = os.environ | {"LC_ALL": "C"}  # Python then writes any byte that it has read
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, check=False)
    assert json.loads(done.stdout.decode())["where"] == f"{tmp_path}/\ufffd.csv"
    assert "\ufffd.csv" in done.stderr.decode()


def test_the_hint_for_an_unknown_catalogue_is_sentences(home: Path, aisle: Any):
    assert "did you mean demo? A new one is" in json.loads(aisle("report", "demmo", "--json")[1])["hint"]
    assert "newsgroups. A new one is" in json.loads(aisle("train", "zzzzzz", "--json")[1])["hint"]


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


@contextmanager
def nobody_may(path: Path) -> Iterator[None]:
    """For the time being this process is a user who may do nothing with `path`, also where tests are run by root."""
    was, mode = os.geteuid(), path.stat().st_mode
    path.chmod(0)
    os.seteuid(65534 if was == 0 else was)
    try:
        yield
    finally:
        os.seteuid(was)
        path.chmod(mode)


def test_a_home_that_cannot_be_written_is_said_before_anything_begins(home: Path, aisle: Any):
    home.write_text("a file in its place")
    for command in (["train", "demo"], ["run", "demo", "nowhere.jsonl"], ["demo"], ["maintain"]):
        code, _, err = aisle(*command)
        assert (code, err.splitlines()[0]) == (1, f"error: {home}: cannot be written (Not a directory)"), command
    home.unlink()
    home.mkdir()
    with nobody_may(home), pytest.raises(HomeUnusable, match="Permission denied"):
        Home(home).require_writable()


def test_a_file_that_this_user_cannot_read_is_named(
    home: Path, aisle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".env").touch()
    monkeypatch.chdir(tmp_path / "here")
    get_settings.cache_clear()
    with nobody_may(tmp_path / "here"):
        code, _, err = aisle("sql", "SELECT 1")
    assert code == 1
    assert err.splitlines()[0] == "error: .env: this user may not read or write it"


@pytest.mark.parametrize("error", [MemoryError(), duckdb.OutOfMemoryException("failed to allocate 1048576 bytes")])
def test_too_little_memory_is_named(home: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch, error: Exception):
    def hungry() -> list[str]:
        raise error

    monkeypatch.setattr("catalogs.registry.names", hungry)
    code, said, err = aisle("catalogs", "--json")
    assert (code, json.loads(said)["error"]) == (1, "OutOfMemory")
    assert "AISLE_BATCH_ROWS" in err


def test_a_container_with_too_little_memory_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    machine = memory.allowed(tmp_path)
    assert machine > 1 << 28
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = tmp_path / name
        limit.parent.mkdir(exist_ok=True)
        limit.write_text("max\n" if name == "memory.max" else f"{1 << 62}\n")
        assert memory.allowed(tmp_path) == machine
        limit.write_text(f"{300 << 20}\n")
        assert memory.allowed(tmp_path) == 300 << 20
        limit.unlink()
    (tmp_path / "memory.max").write_text(f"{300 << 20}\n")
    monkeypatch.setattr(memory.allowed, "__defaults__", (tmp_path,))
    running._tell_of_too_little_memory.__wrapped__()
    assert "warning: 300 MiB of memory are allowed here" in capsys.readouterr().err


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
    assert result["drift"]["drifted"] is False
    assert result["drift"]["arrivals"]["drifted"] is None, "nothing came in: not the same as no drift"
    assert result["drift"]["arrivals"]["summary"].startswith("No verdict")
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
    assert {"drift_catalogue", "validation", "data_docs"} <= {page["name"] for page in found["reports"]}
    assert all(Path(page["path"]).is_file() for page in [*found["reports"], {"path": found["index"]}])
    assert aisle("report", "demo", "--run", "never")[0] == 1
    last = aisle("report", "demo")[1].splitlines()[-1]
    assert last.startswith("demo data_docs (needs the network for its styles)  /")
    assert last.endswith("data_docs/index.html")
    assert json.loads(aisle("report", "nosuch", "--json")[1])["error"] == "UnknownCatalog"
    assert json.loads(aisle("report", "asos", "--json")[1])["error"] == "NothingPublished"


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
    shown = aisle("models", "compare", "demo")[1]
    assert "words.min_rows" in shown
    assert "model.C" not in shown, "only parameters that differ"
    assert "trained on the same rows" in shown
    for fact in ("status", "recipe", "rows", "accuracy", "macro_f1", "weighted_f1", "train_s", "data"):
        assert f"\n{fact} " in shown
    compared = json.loads(aisle("models", "compare", "demo", "v2", "v1", "--json")[1])
    assert [(model["model_version"], model["same_data_as_first"]) for model in compared] == [("v2", True), ("v1", True)]
    assert "model.C" in aisle("models", "compare", "demo", "v2")[1], "of one model, all of them"
    assert aisle("models", "reject", "demo", "v1")[0] == 1
    assert json.loads(aisle("models", "promote", "demo", "v2", "--why", "a test", "--json")[1])["champion"] == "v2"
    assert status() == {"v1": "former champion", "v2": "champion"}
    assert aisle("models", "promote", "demo", "v2")[0] == 1
    assert "no answer changes: its own never stopped being current" in aisle("models", "rollback", "demo")[1]
    assert aisle("models", "promote", "demo", "v2")[0] == 0
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
    assert serving.returncode == 0, "being stopped is no failure"


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
