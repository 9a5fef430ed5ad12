"""People read while runs write: no error, no wait, no half run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from catalogs import registry
from catalogs.demo import generate
from core.settings import get_settings
from tests.killing import end, forked, put_back, run, seen, seen_through, start, wait_until_it_stops

ROWS = 300
PAUSE_S = 0.01


@pytest.fixture
def days(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two days of the demo shop, and a catalogue `other` beside it."""
    (tmp_path / "catalogs").mkdir()
    (tmp_path / "catalogs" / "other.toml").write_text((registry.BUILTIN / "demo.toml").read_text())
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path / "catalogs"))
    get_settings.cache_clear()
    yield [str(generate(tmp_path / "days", ROWS, day=day)) for day in (0, 1)]
    get_settings.cache_clear()


def read_on(home: Path, keep_open: bool, told: Path, stop: Path) -> None:
    """Read everything again and again, through one connection or a new one each time, until `stop` is there."""
    states, errors, times = [], [], 0
    kept = duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) if keep_open else None
    while not stop.exists():
        try:
            state = seen_through(kept) if kept else seen(home)
        except Exception as error:  # noqa: BLE001 - the test wants to know of any
            errors.append(repr(error))
        else:
            times += 1
            if state not in states:
                states.append(state)
        told.with_suffix(".begun").touch()
        time.sleep(PAUSE_S)
    told.write_text(json.dumps({"states": states, "errors": errors, "times": times}))


def test_readers_meet_no_error_and_no_half_run_through_a_whole_night(
    home: Path, tmp_path: Path, days: list[str]
) -> None:
    told, night, upkeep = tmp_path / "told.json", ["nightly", "demo", [days[1]]], ["maintain", "demo"]
    assert run(home, ["nightly", "demo", [days[0]]], told).error == ""
    put_back(home, tmp_path / "kept")
    before = seen(home)
    known = [before, *run(home, night, told).published, *run(home, upkeep, told).published]
    put_back(tmp_path / "kept", home)

    stop, readers = tmp_path / "stop", {}
    for name, keep_open in (("anew", False), ("kept", True)):
        readers[name] = forked(read_on, home, keep_open, tmp_path / f"{name}.json", stop)
    while not all((tmp_path / f"{name}.begun").exists() for name in readers):
        time.sleep(0.05)
    writer = start(home, night, told, until="commit state: after (2)", sign=signal.SIGSTOP)
    try:
        wait_until_it_stops(writer)
        # Another catalogue is published in the middle of the run: it shows none of it.
        other = run(home, ["ingest", "other", [days[0]]], tmp_path / "other.json")
        assert (other.code, other.error) == (0, "")
        assert seen(home) == before
        with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
            assert connection.execute("SELECT count(*) > 0 FROM products WHERE catalog = 'other'").fetchone() == (True,)
    finally:
        assert writer.pid
        os.kill(writer.pid, signal.SIGCONT)
    assert end(writer, told).error == ""
    assert run(home, upkeep, told).error == ""
    after = seen(home)
    stop.touch()
    read = {}
    for name, reader in readers.items():
        reader.join(60)
        read[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert not read["anew"]["errors"] + read["kept"]["errors"]
    assert min(found["times"] for found in read.values()) > 10
    assert all(state in known for state in read["anew"]["states"])
    assert read["kept"]["states"] == [before], "an open connection keeps what it opened"
    assert after == known[-1]
