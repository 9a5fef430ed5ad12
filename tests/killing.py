"""Flows in processes of their own that are killed: at a named point, or at any moment.

The processes are forked from a server that has everything imported, so that one costs what its work costs. The points
are found by running a flow once to its end: the start and end of every step, every commit (before, when
its file is in place, after), what is written of an artifact, each publish (built, renamed), and what goes to the bucket
of a home on S3, and comes from it.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import duckdb

_LOADED_LATE = ("deltalake", "great_expectations", "evidently", "evidently.presets", "skops.io")
IMPORTED = ("flows.nightly", "tests.killing", *_LOADED_LATE)
PATIENCE_S = 120.0

Words = list[Any]
"""A flow's name and its arguments, or `aisle` and those of a command."""

_SEEN = {
    "products": "SELECT count(*), sum(hash(product_id, row_hash)) FROM products {own}",
    "predictions": "SELECT count(*), sum(hash(product_id, label, decision, model_version)) FROM predictions {own}",
    "history": "SELECT count(*), count(DISTINCT (product_id, feature_hash, model_digest)) "
    "FROM predictions_history {own}",
    "rejects": "SELECT count(*), sum(hash(source, line, raw)) FROM rejects {own}",
    "conflicts": "SELECT count(*) FROM conflicts {own}",
    "models": "SELECT model_version, status FROM models {own} ORDER BY ALL",
    "runs": "SELECT flow, read, stored, scored FROM runs {own} ORDER BY ALL",
    "conservation": "SELECT * EXCLUDE (run_id) FROM conservation {own} ORDER BY ALL",
    "trials": "SELECT count(*) FROM trials {own}",
    "labels": "SELECT count(*) FROM labels {own}",
    "policy": "SELECT model_version, label, threshold, review_all FROM policy {own} ORDER BY ALL",
    "drift": "SELECT count(*) FROM drift {own}",
}
"""What tells two states of the warehouse apart, and is the same whenever the same was done."""

Seen = dict[str, list[list[Any]]]


def seen(home: Path) -> Seen | None:
    """What people see through warehouse.duckdb; None where nothing was published yet."""
    if not (home / "warehouse.duckdb").is_file():
        return None
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        return seen_through(connection)


def seen_through(connection: duckdb.DuckDBPyConnection) -> Seen:
    """The same through a connection that is open."""
    own = "WHERE catalog = 'demo'"
    rows = {name: connection.execute(sql.format(own=own)).fetchall() for name, sql in _SEEN.items()}
    return json.loads(json.dumps(rows, default=str))  # the same on both sides of a pipe


@dataclass
class Points:
    """Counts the points that a flow reaches, and sends its own process a signal at one of them."""

    until: str | None
    home: Path
    sign: signal.Signals = signal.SIGKILL
    reached: list[str] = field(default_factory=list)
    published: list[Seen | None] = field(default_factory=list)
    """What people saw after each publish."""
    _times: Counter[str] = field(default_factory=Counter)

    def reach(self, name: str) -> None:
        self._times[name] += 1
        point = f"{name} ({self._times[name]})"  # steps run beside others: the last of the list may be theirs by now
        self.reached.append(point)
        if point == self.until:
            os.kill(os.getpid(), self.sign)

    def watch(self) -> None:
        """Put a point wherever the warehouse changes, and between the steps."""
        import deltalake
        import deltalake.transaction

        import classifier.artifact
        import core.orchestration
        import warehouse.bucket
        import warehouse.mirror
        import warehouse.publish
        import warehouse.tables
        import warehouse.working

        core.orchestration.listen(self._step)
        self._around(warehouse.tables, "restore", lambda path, *_: f"restore {path.name}")
        self._around(warehouse.tables, "compact", lambda path: f"compact {path.name}")
        self._around(warehouse.tables, "vacuum", lambda path, *_: f"vacuum {path.name}")
        self._around(warehouse.publish, "build", lambda *_: "publish")
        self._around(classifier.artifact, "_manifest_of", lambda *_: "artifact")
        self._around(warehouse.mirror.Mirror, "_exchange", lambda *_: "copy")
        self._around(warehouse.working, "side_by_side", lambda *_: "put files")
        self._around(warehouse.working.Working, "_put_one", lambda _, file: _what_is_put(file[0]))
        self._around(warehouse.bucket.Bucket, "put", lambda _, key, *__: f"send {_what_is_put(key)}")
        self._around(warehouse.bucket.Bucket, "delete", lambda *_: "delete")
        add = deltalake.transaction.AddAction
        renamed = warehouse.publish.Published

        def watched_add(name: str, *facts: Any) -> Any:
            self.reach("commit: file moved")
            return add(name, *facts)

        def watched_rename(*facts: Any) -> Any:
            self.published.append(seen(self.home) if self.until is None else None)
            self.reach("publish: renamed")
            return renamed(*facts)

        self._around(warehouse.tables, "_write", lambda path, *_: f"commit {path.name}")
        deltalake.transaction.AddAction = watched_add  # type: ignore[assignment, misc]
        warehouse.publish.Published = watched_rename  # type: ignore[assignment, misc]

    def _step(self, name: str, done: int, total: int) -> None:
        self.reach(f"step {name}: {done} of {total}")

    def _around(self, module: Any, name: str, what: Callable[..., str]) -> None:
        function = getattr(module, name)

        def watched(*args: Any) -> Any:
            self.reach(f"{what(*args)}: before")
            result = function(*args)
            self.reach(f"{what(*args)}: after")
            return result

        setattr(module, name, watched)


def _what_is_put(key: str) -> str:
    part, *below = key.split("/")
    return f"put commit {below[1]}" if part == "tables" and key.endswith(".json") else f"put file of {part}"


@dataclass
class Ended:
    """How a process ended: its exit code, and of one that was not killed, the points that it passed."""

    code: int | None
    reached: list[str]
    published: list[Seen | None]
    error: str


def start(
    home: Path | str, words: Words, told: Path, until: str | None = None, sign: signal.Signals = signal.SIGKILL
) -> BaseProcess:
    """Start a flow in a process of its own, which gets `sign` at the point `until`. `home` is a folder, or on S3."""
    told.unlink(missing_ok=True)
    settings = {name: value for name, value in os.environ.items() if name.startswith(("AISLE_", "AWS_"))}
    return forked(_work, home, words, told, until, sign, settings)


def forked(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A function in a process of its own that has everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def wait_until_it_stops(process: BaseProcess) -> None:
    """Wait for a process that is sent SIGSTOP."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(process.pid)], capture_output=True, text=True).stdout
        if state.startswith("T"):
            return
        time.sleep(0.05)
    raise AssertionError("the flow did not come to the point")


def end(process: BaseProcess, told: Path) -> Ended:
    """Wait for a process to end."""
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError("the flow did not end")
    noted = json.loads(told.read_text()) if told.exists() else {"reached": [], "published": [], "error": ""}
    return Ended(process.exitcode, **noted)


def run(home: Path | str, words: Words, told: Path, until: str | None = None) -> Ended:
    """A flow in a process of its own, to its end or to the point `until`."""
    return end(start(home, words, told, until), told)


def _work(
    home: Path | str, words: Words, told: Path, until: str | None, sign: signal.Signals, settings: dict[str, str]
) -> None:
    for name in [name for name in os.environ if name.startswith("AISLE_")]:
        del os.environ[name]
    os.environ |= settings | {"AISLE_HOME": str(home)}
    tempfile.tempdir = str(told.parent)
    from core.errors import AisleError
    from core.settings import get_settings
    from warehouse.home import get_home

    get_settings.cache_clear()
    points = Points(until, get_home(fresh=False).root, sign)
    points.watch()
    error = ""
    try:
        _call(*words)
    except AisleError as failed:
        error = type(failed).__name__
    except Exception as failed:  # noqa: BLE001 - the test says what it was
        error = repr(failed)
    told.write_text(json.dumps({"reached": points.reached, "published": points.published, "error": error}))


def _call(name: str, *arguments: Any) -> None:
    if name == "publish":
        from warehouse.home import get_home
        from warehouse.publish import publish

        publish(get_home())
        return
    if name == "aisle":
        from aisle.cli import run

        if code := run(arguments):
            raise RuntimeError(f"exit code {code}")
        return
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    flow.fn(*arguments)


def put_back(kept: Path, home: Path) -> None:
    """Make a home what it was when it was kept. Its path stays: the published views name it."""
    shutil.rmtree(home, ignore_errors=True)
    if kept.exists():
        shutil.copytree(kept, home)
