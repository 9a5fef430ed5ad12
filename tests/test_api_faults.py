"""What goes wrong inside the service stays where it went wrong, and passes when its cause has passed."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from starlette.types import Message

from api.answers import Answers
from api.api import create_app
from api.champions import FEW, Champion, Champions
from api.predictor import Predictor
from core.settings import Settings
from tests.api_server import living_in, shared_home
from warehouse.home import get_home


@pytest.fixture
def own_home(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_home(tmp_path_factory.getbasetemp()), tmp_path / "var"))


async def until(happened: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0.01)


def test_a_file_system_that_fails_for_a_moment_does_not_end_the_look_out_for_champions(own_home: Path):
    async def watching() -> None:
        champions = Champions(get_home(fresh=False))
        await champions.look()
        watch = asyncio.create_task(champions.watch(0.01))
        # Such errors are what too many open files or a network disk that is gone look like.
        log = own_home / "tables" / "demo" / "runs" / "_delta_log"
        for folder in (log, own_home / "tables"):
            away = folder.rename(own_home / "away")
            folder.write_text("no folder")
            await asyncio.sleep(0.3)
            assert champions.of("demo").record.version == "v1"
            folder.unlink()
            away.rename(folder)
            assert not watch.done()
        shutil.rmtree(own_home / "tables" / "elo7")
        await until(lambda: champions.get("elo7") is None and champions.problem("demo") is None)
        watch.cancel()

    with living_in(own_home):
        asyncio.run(watching())


class Panic(BaseException):
    """What a fault inside a library that is written in Rust looks like: no Exception."""


class Faulty:
    """A model that waits, or fails, when it is told to by a product."""

    record = SimpleNamespace(catalog="demo")

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def answer(self, products: Sequence[dict[str, Any]], *, reasons: bool = True) -> Answers:  # noqa: ARG002 - a model's
        titles = [product["title"] for product in products]
        if "panic" in titles:
            raise Panic
        if max(map(len, titles)) > 10_000 or len(titles) > FEW:
            assert self.go_on.wait(30)
        return Answers([{"label": "a", "decision": "review", "confidence": 0.5} for _ in titles])


def test_single_products_wait_neither_for_large_requests_nor_for_long_texts():
    async def ask() -> None:
        predictor, model = Predictor(1, 20), cast("Champion", Faulty())
        long = {"title": "oak " * 20_000}
        slow = [asyncio.create_task(predictor.answer(model, products)) for products in ([long] * 100, [long])]
        many = [predictor.answer(model, [{"title": "oak " * 500}]) for _ in range(60)]
        assert len(await asyncio.gather(*many)) == 60
        assert not any(task.done() for task in slow)
        cast("Faulty", model).go_on.set()
        assert [len(answers) for answers in await asyncio.gather(*slow)] == [100, 1]
        predictor.close()

    asyncio.run(ask())


@pytest.mark.parametrize("rows", [1, FEW + 1])
def test_a_panic_of_a_library_fails_the_request_that_met_it_and_no_other(rows: int):
    async def ask() -> None:
        predictor, model = Predictor(1, 5), cast("Champion", Faulty())
        with pytest.raises(Panic):
            await predictor.answer(model, [{"title": "panic"}] * rows)
        assert len(await predictor.answer(model, [{"title": "oak"}])) == 1
        predictor.close()

    asyncio.run(ask())


def test_a_panic_of_a_library_is_answered_with_a_problem_document(home: Path):
    app, sent = create_app(Settings()), []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise Panic

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/categorize",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == orjson.loads(sent[1]["body"])["status"] == 500
