"""Steps outside of Prefect: one that runs beside others. As task runs they are tested with the flows."""

from __future__ import annotations

import threading

import pytest

from core.errors import SourceEmpty, SourceShrunk
from core.orchestration import listen, step
from core.settings import Settings, get_settings

WAIT_S = 60


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

    with pytest.raises(SourceShrunk), waits.beside():  # noqa: PT012 - what the block does is what is tested
        gate.set()
        raise SourceShrunk("half of it is gone")
    assert ended.is_set()


def test_the_settings_in_force_are_in_force_in_a_step_beside() -> None:
    @step("ask")
    def asks() -> int:
        return get_settings().batch_rows

    with get_settings.sent(Settings(batch_rows=123)), asks.beside() as result:
        pass
    assert result.result() == 123
