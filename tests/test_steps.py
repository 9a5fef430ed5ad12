"""Steps outside of Prefect: one that runs beside others. As task runs they are tested with the flows."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from catalogs import demo
from core.errors import SourceEmpty, SourceShrunk
from core.orchestration import listen, step
from core.settings import Settings, get_settings
from flows.ingest import ingest
from warehouse.home import get_home

# Modules that have the names of their steps.
store_rows, validate_rows = import_module("tasks.store_rows"), import_module("tasks.validate_rows")

WAIT_S = 60


@pytest.fixture
def day(home: Path, tmp_path: Path) -> Path:
    """A generated source, and a home with nothing in it."""
    return demo.generate(tmp_path / "source", rows=300, seed=1, day=0)


@pytest.fixture
def gate() -> threading.Event:
    """What a step waits for, and the block around it opens."""
    return threading.Event()


def test_a_step_runs_beside_the_block_and_is_done_behind_it(gate: threading.Event) -> None:
    told: list[tuple[str, int, int]] = []

    @step("wait")
    def waits(word: str) -> str:
        assert gate.wait(WAIT_S), "the block works meanwhile"
        return word

    stop = listen(lambda *what: told.append(what))
    with waits.beside("done") as result:
        assert not result.done()
        gate.set()
    stop()
    assert result.done()
    assert result.result() == "done"
    assert told == [("wait", 0, 1), ("wait", 1, 1)]


def test_what_a_step_beside_raises_is_raised_where_its_result_is_asked_for() -> None:
    @step("fail")
    def fails() -> None:
        raise SourceEmpty("has no rows")

    with fails.beside() as result:
        pass
    with pytest.raises(SourceEmpty, match="has no rows"):
        result.result()


def test_an_error_of_the_block_is_raised_when_the_step_beside_it_is_done(gate: threading.Event) -> None:
    ended = threading.Event()

    @step("wait")
    def waits() -> None:
        assert gate.wait(WAIT_S)
        ended.set()
        raise SourceEmpty("has no rows")

    with pytest.raises(SourceShrunk) as caught, waits.beside():  # noqa: PT012 - what the block does is what is tested
        gate.set()
        raise SourceShrunk("half of it is gone")
    assert ended.is_set()
    assert caught.value.__notes__ == ["and 'wait', beside it: SourceEmpty('has no rows')"]


def test_who_interrupts_waits_until_the_step_beside_is_done() -> None:
    """Else it would go on behind a run that has been given up, and write reports of what did not happen."""
    ended = threading.Event()

    @step("interrupt")
    def interrupts() -> None:
        for _ in range(2):
            time.sleep(0.2)  # the block is left, and waits
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        ended.set()

    with pytest.raises(KeyboardInterrupt), interrupts.beside():
        pass
    assert ended.is_set()


def test_the_suite_is_run_while_rows_are_stored(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=WAIT_S)

    def met(function: Callable[..., Any]) -> Callable[..., Any]:
        def first_meets(*given: Any) -> Any:
            together.wait()  # either waits for the other: one behind the other would never meet
            return function(*given)

        return first_meets

    monkeypatch.setattr(store_rows, "store", met(store_rows.store))
    monkeypatch.setattr(validate_rows, "validate", met(validate_rows.validate))
    result = ingest.fn("demo", [str(day)])
    assert result.rows["stored"] > 0
    assert Path(result.reports["data_docs"]).exists()


def test_an_ingest_whose_suite_fails_did_not_happen(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("the suite cannot be run")

    with monkeypatch.context() as broken:
        broken.setattr(validate_rows, "validate", fails)
        with pytest.raises(RuntimeError, match="the suite cannot be run"):
            ingest.fn("demo", [str(day)])
    home = get_home()
    assert not list(home.reports.glob("demo/*"))
    result = ingest.fn("demo", [str(day)])
    assert result.rows["stored"] > 0, "nothing of the run before is known"
    assert [run.name for run in home.reports.glob("demo/*")] == [result.run_id]


def test_the_settings_in_force_are_in_force_in_a_step_beside() -> None:
    @step("ask")
    def asks() -> int:
        return get_settings().batch_rows

    with get_settings.sent(Settings(batch_rows=123)), asks.beside() as result:
        pass
    assert result.result() == 123
