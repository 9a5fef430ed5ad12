"""SIGKILL at every named point of every flow, and at any moment: no half run is seen, and the next one finishes."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalogs.demo import generate
from core.settings import get_settings
from tests.killing import Ended, Seen, Words, end, put_back, run, seen, start

ROWS = 300

FLOWS = {
    # name: what was done before, and what is killed
    "first night": ("nothing", ["nightly", "demo", ["{day0}"]]),
    "nightly": ("a night", ["nightly", "demo", ["{day1}"]]),
    "ingest": ("a night", ["ingest", "demo", ["{day1}"]]),
    "train": ("a night", ["train", "demo"]),
    "score": ("an ingest", ["score", "demo"]),
    "monitor": ("a night", ["monitor", "demo"]),
    "publish": ("a night", ["publish"]),
    "retrain": ("an ingest", ["retrain", "demo"]),
    "tune": ("a night", ["tune", "demo", None, None, 2, 2]),
    "catch up": ("a night", ["catch_up", "demo", ["{day1}", "{day2}"]]),
    "maintain": ("a night", ["maintain", "demo"]),
    "promote": ("two champions", ["aisle", "models", "promote", "demo", "v1"]),
    "rollback": ("two champions", ["aisle", "models", "rollback", "demo", "v1"]),
    "policy": ("a night", ["aisle", "policy", "demo", "--review-all"]),
    "review import": ("a night", ["aisle", "review", "import", "{labels}", "--by", "me"]),
}

CHOSEN = [
    ("first night", "commit runs: after (1)"),
    ("nightly", "commit state: after (2)"),
    ("nightly", "publish: renamed (1)"),
    ("ingest", "commit: file moved (1)"),
    ("train", "commit models: after (2)"),
    ("score", "commit scores: after (1)"),
    ("catch up", "publish: renamed (1)"),
    ("maintain", "commit runs: before (1)"),
    ("rollback", "restore state: after (1)"),
    ("review import", "commit labels: after (1)"),
]
"""Points of the normal suite; the slow test takes all."""

MOMENTS = 150
"""Random moments of the slow test."""

SEED = 20_261_121


@dataclass
class Known:
    """What a flow does when nobody kills it.

    Attributes:
        points: those that it passes.
        states: what is to be seen before it, and after each of its publishes.
        seconds: how long it took.
    """

    points: list[str]
    states: list[Seen | None]
    seconds: float

    def visible_at(self, point: str) -> Seen | None:
        """What is to be seen of a flow that was killed there."""
        passed = self.points[: self.points.index(point) + 1]
        return self.states[sum(name.startswith("publish: renamed") for name in passed)]


@dataclass
class House:
    """A home, kept copies of it, and what is known of the flows in it."""

    folder: Path
    flows: dict[str, tuple[Path, Words]] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "var"

    def run(self, words: Words, until: str | None = None) -> Ended:
        return run(self.home, words, self.folder / "told.json", until)

    def keep(self, name: str) -> None:
        if self.home.exists():
            shutil.copytree(self.home, self.folder / name)

    def learn(self, name: str) -> Known:
        """Run a flow to its end, and remember what was to be seen."""
        if name not in self.known:
            kept, words = self.flows[name]
            put_back(kept, self.home)
            before, started = seen(self.home), time.monotonic()
            ended = self.run(words)
            assert (ended.code, ended.error) == (0, "")
            self.known[name] = Known(ended.reached, [before, *ended.published], time.monotonic() - started)
        return self.known[name]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Homes before each flow, made by real runs."""
    folder = tmp_path_factory.mktemp("house")
    named = {f"day{day}": str(generate(folder, ROWS, day=day)) for day in (0, 1, 2)} | {"labels": str(folder / "l.csv")}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AISLE_WORKERS", "2")
        get_settings.cache_clear()
        house = House(folder)
        for kept, after, steps in (
            ("nothing", None, []),
            ("a night", "nothing", [["nightly", "demo", [named["day0"]]]]),
            ("an ingest", "a night", [["ingest", "demo", [named["day1"]]]]),
            ("two champions", "a night", [["train", "demo", None, None, True], ["score", "demo"]]),
        ):
            if after:
                put_back(folder / after, house.home)
            for words in steps:
                ended = house.run(words)
                assert (ended.code, ended.error) == (0, "")
            house.keep(kept)
        Path(named["labels"]).write_text(labels(house.home))
        for name, (kept, words) in FLOWS.items():
            house.flows[name] = (folder / kept, [_filled(word, named) for word in words])
        yield house
    get_settings.cache_clear()


def labels(home: Path) -> str:
    """A file of labels as people give them back: what the model said of some products."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT product_id, label FROM predictions ORDER BY ALL LIMIT 5").fetchall()
    return "\n".join(["catalog,product_id,label", *(f"demo,{product},{label}" for product, label in rows)])


def _filled(word: Any, named: dict[str, str]) -> Any:
    if isinstance(word, list):
        return [_filled(one, named) for one in word]
    return word.format(**named) if isinstance(word, str) else word


def check(house: House, name: str, expected: list[Seen | None]) -> None:
    """A killed flow shows one of the states `expected`; the next run finishes its work as if it had not been killed."""
    finished = house.known[name].states[-1]
    assert seen(house.home) in expected
    again = house.run(house.flows[name][1])
    now = seen(house.home)
    assert (again.code, again.error) == (0, "") or now == finished, "only what is done already may be refused"
    assert now is not None
    assert finished is not None
    if now != finished:  # it was killed after it had been recorded: the run again finds nothing left to do
        assert len(now["runs"]) == len(finished["runs"]) + 1
        # A retraining that is asked for again is another one: its model may be the next champion.
        for view in ("products",) if name == "retrain" else ("products", "predictions", "history"):
            assert now[view] == finished[view]
    assert all(balanced for *_, balanced in now["conservation"])
    assert now["history"][0][0] == now["history"][0][1], "a product was scored twice"
    assert left_over(house.home) == []


def left_over(home: Path) -> list[Path]:
    """What a killed run has left where people or later runs would come upon it."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        runs = {run for (run,) in connection.execute("SELECT run_id FROM runs").fetchall()}
        models = {model for (model,) in connection.execute("SELECT model_version FROM models").fetchall()}
    reports = [folder for folder in home.glob("reports/*/*") if folder.name not in runs]
    artifacts = [folder for folder in home.glob("models/*/*") if folder.name not in models]
    return [*reports, *artifacts, *home.glob("staging/*/*"), *home.glob(".warehouse*")]


def kill_at(house: House, name: str, point: str) -> None:
    known = house.learn(name)
    kept, words = house.flows[name]
    put_back(kept, house.home)
    killed = house.run(words, until=point)
    assert killed.code == -signal.SIGKILL, f"{point} is not passed: {known.points}"
    try:
        check(house, name, [known.visible_at(point)])
    except AssertionError as error:
        error.add_note(f"killed at: {point}")
        raise


def kill_at_any_moment(house: House, name: str, chance: random.Random) -> None:
    known = house.learn(name)
    kept, words = house.flows[name]
    put_back(kept, house.home)
    told = house.folder / "told.json"
    process = start(house.home, words, told)
    time.sleep(chance.uniform(0, known.seconds))
    process.kill()
    ended = end(process, told)
    assert ended.code in {0, -signal.SIGKILL}
    check(house, name, known.states)


@pytest.mark.parametrize(("name", "point"), CHOSEN)
def test_a_flow_killed_at_a_point_is_seen_whole_or_not_at_all_and_the_next_run_finishes(
    house: House, name: str, point: str
) -> None:
    kill_at(house, name, point)


def test_a_flow_killed_at_any_moment_is_seen_whole_or_not_at_all(house: House) -> None:
    kill_at_any_moment(house, "ingest", random.Random(SEED))


def test_a_run_killed_while_it_undoes_a_killed_run_is_undone_too(house: House) -> None:
    known = house.learn("ingest")
    kept, words = house.flows["ingest"]
    put_back(kept, house.home)
    for point in ("commit rejects: after (1)", "restore products: before (1)", "restore state: after (1)"):
        assert house.run(words, until=point).code == -signal.SIGKILL
    check(house, "ingest", known.states[:1])


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_may_be_killed_at_every_point(house: House, name: str) -> None:
    for point in house.learn(name).points:
        kill_at(house, name, point)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_may_be_killed_at_any_moment(house: House, name: str) -> None:
    chance = random.Random(f"{SEED} {name}")
    for _ in range(MOMENTS // len(FLOWS)):
        kill_at_any_moment(house, name, chance)
