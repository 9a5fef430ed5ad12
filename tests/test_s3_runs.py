"""Runs in a home on S3: killed, stopped, taken for dead and side by side on several machines; and what others see."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from catalogs.demo import generate
from core.errors import RunLocked
from core.settings import get_settings
from tests.api_server import running, wait_for
from tests.killing import Ended, Seen, Words, end, run, seen, start, wait_until_it_stops
from tests.s3 import BUCKET, Machines
from warehouse import registry
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import open_run

PATIENCE_S = 60.0


def asked(sql: str) -> list[tuple[Any, ...]]:
    return query(get_home(), sql).rows


def state_of(machines: Machines, name: str) -> Seen | None:
    """What people see on a machine."""
    machines.become(name)
    return seen(get_home().root)


@dataclass
class House:
    """A home on S3 after a night, and what an ingest of the next day's file makes of it."""

    folder: Path
    words: Words
    before: Seen | None
    finished: Seen | None
    points: list[str]
    environment: pytest.MonkeyPatch
    kept: str = "s3://shop/kept"
    times: int = 0

    def copied(self) -> Machines:
        """Machines that share a copy of the home."""
        self.times += 1
        machines = Machines(self.folder / f"copy-{self.times}", f"s3://shop/copy-{self.times}", self.environment)
        store = S3Store(BUCKET)
        for one in [one["path"] for page in obstore.list(store, "kept") for one in page]:
            obstore.copy(store, one, one.replace("kept", f"copy-{self.times}", 1))
        return machines

    def run(self, machines: Machines, name: str, until: str | None = None, **settings: str) -> Ended:
        machines.become(name, **{"lease_s": "1", **settings})
        return run(machines.address, self.words, self.folder / "told.json", until)


@pytest.fixture(scope="module")
def house(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Made by real runs."""
    folder = tmp_path_factory.mktemp("house")
    days = [str(generate(folder, 300, day=day)) for day in (0, 1)]
    with pytest.MonkeyPatch.context() as environment:
        machines = Machines(folder, "s3://shop/kept", environment)
        machines.become("maker")
        ended = run(machines.address, ["nightly", "demo", [days[0]]], folder / "told.json")
        assert (ended.code, ended.error) == (0, "")
        made = House(folder, ["ingest", "demo", [days[1]]], state_of(machines, "maker"), None, [], environment)
        machines = made.copied()
        ended = made.run(machines, "maker")
        assert (ended.code, ended.error) == (0, "")
        made.finished = state_of(machines, "reader")
        made.points = [point for point in ended.reached if "file of locks" not in point]  # beats come as time goes
        assert made.finished != made.before
        yield made
    get_settings.cache_clear()


def kill_at(house: House, point: str) -> None:
    """A killed run is seen whole or not at all on every machine, and another machine finishes its work."""
    machines = house.copied()
    killed = house.run(machines, "a", until=point)
    assert killed.code == -signal.SIGKILL, f"{point} is not passed: {house.points}"
    passed = house.points[: house.points.index(point) + 1]
    is_recorded = "send put commit runs: after (1)" in passed
    for name in ("b", "a"):
        assert state_of(machines, name) == (house.finished if is_recorded else house.before), name
    again = house.run(machines, "b")
    assert (again.code, again.error) == (0, "")
    now = state_of(machines, "b")
    assert now is not None
    assert house.finished is not None
    assert len(now["runs"]) == len(house.finished["runs"]) + is_recorded
    for view in ("products", "predictions", "history"):
        assert now[view] == house.finished[view]
    assert all(balanced for *_, balanced in now["conservation"])
    assert state_of(machines, "a") == now
    runs = {run_id for (run_id,) in asked("SELECT run_id FROM runs")}
    assert {key.split("/")[2] for key in machines.listed("reports/demo")} <= runs
    assert house.run(machines, "a").error == ""


def test_a_run_killed_on_one_machine_is_finished_on_another(house: House) -> None:
    kill_at(house, "put commit products: after (1)")


@pytest.mark.slow
def test_a_run_killed_when_the_bucket_had_it_is_seen_on_every_machine(house: House) -> None:
    kill_at(house, "put commit runs: after (1)")


@pytest.mark.slow
def test_a_run_may_be_killed_at_every_point(house: House) -> None:
    for point in house.points:
        kill_at(house, point)


def test_two_machines_at_once_one_is_refused_by_name_and_readers_go_on(house: House) -> None:
    machines = house.copied()
    machines.become("a", lease_s="30")
    told = house.folder / "a.json"
    first = start(machines.address, house.words, told, until="commit state: after (1)", sign=signal.SIGSTOP)
    try:
        wait_until_it_stops(first)
        machines.become("b", lock_wait_s="0", lease_s="30")
        with pytest.raises(RunLocked, match=f"run of demo is under way on {platform.node()}, process {first.pid}"):
            open_run("demo", "ingest").__enter__()
        for name in ("a", "b"):  # beside the run, and elsewhere
            assert state_of(machines, name) == house.before
    finally:
        os.kill(first.pid or 0, signal.SIGCONT)
    assert end(first, told).error == ""
    for name in ("a", "b"):
        assert state_of(machines, name) == house.finished


def stopped_and_overtaken(house: House, point: str) -> None:
    machines = house.copied()
    machines.become("a", lease_s="1")
    told = house.folder / "a.json"
    first = start(machines.address, house.words, told, until=point, sign=signal.SIGSTOP)
    try:
        wait_until_it_stops(first)
        second = house.run(machines, "b")
        assert (second.code, second.error) == (0, "")
    finally:
        os.kill(first.pid or 0, signal.SIGCONT)
    assert end(first, told).error == "RunOvertaken"
    for name in ("b", "a", "c"):
        assert state_of(machines, name) == house.finished
    third = house.run(machines, "a")
    assert third.error == ""


def test_a_run_that_was_taken_for_dead_does_not_get_there(house: House) -> None:
    stopped_and_overtaken(house, "put commit runs: before (1)")


@pytest.mark.slow
def test_a_commit_that_was_on_its_way_when_another_took_over_comes_too_late(house: House) -> None:
    machines = house.copied()
    stopped = []
    try:
        for name, point in (("a", "send put commit runs: before (1)"), ("b", "commit state: after (1)")):
            machines.become(name, lease_s="2")
            told = house.folder / f"{name}.json"
            stopped.append((start(machines.address, house.words, told, until=point, sign=signal.SIGSTOP), told))
            wait_until_it_stops(stopped[-1][0])
    finally:
        for process, _ in stopped:
            os.kill(process.pid or 0, signal.SIGCONT)
            process.join()
    assert [end(process, told).error for process, told in stopped] == ["RunOvertaken", ""]
    assert state_of(machines, "c") == house.finished


def test_a_killed_run_is_waited_for_on_other_machines_and_not_on_its_own(house: House) -> None:
    machines = house.copied()
    at_once = {"lock_wait_s": "0", "lease_s": "60"}
    assert house.run(machines, "a", until="commit state: after (1)", **at_once).code == -signal.SIGKILL
    assert house.run(machines, "b", **at_once).error == "RunLocked"
    assert house.run(machines, "a", **at_once).error == ""
    assert state_of(machines, "b") == house.finished


@pytest.mark.slow
def test_a_run_may_be_taken_for_dead_at_any_point_before_it_is_recorded(house: House) -> None:
    for point in house.points[: house.points.index("put commit runs: before (1)") : 4]:
        stopped_and_overtaken(house, point)


@pytest.mark.slow
def test_the_api_serves_a_champion_promoted_elsewhere_and_goes_on_when_the_bucket_fails(
    house: House, tmp_path: Path
) -> None:
    machines = house.copied()
    machines.become("b")
    assert run(machines.address, ["train", "demo", "linear-fast"], house.folder / "told.json").error == ""

    def crown_by_hand(event: str, version: str) -> None:
        with open_run("demo", event) as under_way:
            registry.note(under_way, event, version, "a test")

    def serves(version: str) -> bool:
        answer = server.client.post("/v1/catalogs/demo/predictions", json={"products": [{"title": "oak shelf"}]})
        return answer.status_code == 200 and answer.json()["predictions"][0]["model_version"] == version

    crown_by_hand("rolled_back", "v1")
    with running(machines.address, tmp_path / "log", cache=str(tmp_path / "api")) as server:
        wait_for(lambda: serves("v1"), PATIENCE_S, server.log)
        (product,) = asked("SELECT product_id FROM predictions LIMIT 1")
        assert server.client.get(f"/v1/catalogs/demo/predictions/{product[0]}").status_code == 200
        machines.become("c")
        crown_by_hand("promoted", "v2")
        wait_for(lambda: serves("v2"), PATIENCE_S, server.log)
        marker = obstore.get(machines.store, "home.json").bytes()
        obstore.put(machines.store, "home.json", b'{"schema_version": 99}')
        wait_for(lambda: any(line.get("error") == "HomeNewer" for line in server.lines()), PATIENCE_S, server.log)
        assert serves("v2")
        obstore.put(machines.store, "home.json", marker)
        crown_by_hand("rolled_back", "v1")
        wait_for(lambda: serves("v1"), PATIENCE_S, server.log)
