"""What goes wrong inside the service stays where it went wrong, and passes when its cause has passed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
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
from api.champions import Champion, Champions
from api.exchange import Exchange
from api.guard import Guard
from api.predictor import FEW, Predictor
from api.problems import Refusal
from api.sending import Sending
from core.settings import Settings
from tests.api_server import PROJECT, living_in, shared_home
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

    def answer(self, products: Sequence[dict[str, Any]], *, reasons: bool) -> Answers:
        assert reasons
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


@pytest.mark.parametrize("products", [[{"title": "oak"}], [{"title": "oak " * 20_000}]], ids=["in a queue", "at work"])
def test_who_has_waited_too_long_is_told_so(products: list[dict[str, str]]):
    async def ask() -> None:
        predictor, model = Predictor(1, 1e-9), cast("Champion", Faulty())
        with pytest.raises(Refusal, match="no answer after 1e-09 seconds") as refused:
            await predictor.answer(model, products)
        assert refused.value.status_code == 503
        cast("Faulty", model).go_on.set()
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


def asked(settings: Settings, path: str, body: bytes | type[BaseException] = b"", **scope: Any) -> tuple[int, Any]:
    """Status and JSON of an answer to a request, as a server hands it on."""
    app, sent = create_app(settings), []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        if not isinstance(body, bytes):
            raise body
        return {"type": "http.request", "body": body}

    given = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "server": ("127.0.0.1", 80),
        **scope,
    }
    asyncio.run(app(given, receive, send))
    return sent[0]["status"], orjson.loads(sent[1]["body"])


def test_a_worker_that_died_leaves_nothing_in_progress(tmp_path: Path):
    told = []
    for what in ("metrics.IN_PROGRESS.inc()", "metrics.IN_PROGRESS.inc(); print(metrics.exposed().decode())"):
        script = f"from api import metrics; {what}"
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", script]
        told.append(subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=True).stdout)
    assert "aisle_http_requests_in_progress 1.0" in told[1]


KEY = "a-key-of-enough-characters"


@pytest.mark.parametrize("path", ["/v2", "/v2/nothing", "/v2/models/demo/infer"])
def test_every_error_of_the_inference_protocol_has_what_it_asks_for(home: Path, path: str):
    for settings, status in ((Settings(api_keys=KEY), 401), (Settings(), 503 if path.endswith("infer") else 405)):
        got, said = asked(settings, path, b'{"inputs":[{"name":"title","shape":[1],"datatype":"BYTES","data":["a"]}]}')
        assert got == said["status"] == (404 if status == 405 and path.endswith("nothing") else status)
        assert said["error"] == said["detail"]


def test_a_panic_of_a_library_is_answered_with_a_problem_document(home: Path):
    status, said = asked(Settings(), "/v1/categorize", Panic)
    assert status == said["status"] == 500


def test_a_body_of_countless_small_values_is_refused_before_it_fills_the_memory(home: Path):
    small = b'{"title":"oak","x":[' + b",".join([b"[]"] * 2_000_000) + b"]}"
    status, said = asked(Settings(), "/v1/main_cat", small)
    assert (status, said["detail"]) == (413, "the body holds too many values")


@pytest.mark.parametrize("server", [None, ("/run/aisle.sock", None)])
def test_a_socket_file_is_no_loopback(home: Path, server: Any):
    for settings, status in ((Settings(), 401), (Settings(api_open=True), 200)):
        assert asked(settings, "/v1/catalogs", method="GET", server=server)[0] == status


def test_a_key_counts_in_either_header_and_wrong_ones_are_rated(home: Path):
    settings = Settings(api_keys=KEY, api_rate_per_s=3)
    both = [(b"authorization", b"Bearer of-the-gateway"), (b"x-api-key", KEY.encode())]
    for headers in (both, both[::-1]):
        assert asked(settings, "/v1/catalogs", method="GET", headers=headers)[0] == 200
    guard = Guard(create_app(settings), settings)
    statuses = []

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    async def guess() -> None:
        for number in range(5):
            scope = {"type": "http", "path": "/v1/catalogs", "headers": [(b"x-api-key", b"guess-%d" % number)]}
            Exchange.begin(scope, Sending(send, 1))
            await guard(scope, None, send)

    asyncio.run(guess())
    assert statuses[::2] == [401, 401, 401, 429, 429]
