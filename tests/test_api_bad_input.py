"""Whatever is sent, each route answers with its own status and names the field, and goes on answering the others."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api_server import Server, accepts, running, shared_home, wait_for

JSON = {"Content-Type": "application/json"}
TIMEOUT_S = 3


@dataclass(frozen=True)
class Route:
    """A route that takes products.

    Attributes:
        path: where it is.
        body: a body with one product, whose text is to be filled in, as JSON.
        text: the way to that text.
        status: what its contract says of every body that cannot be used; None: each kind has its own.
        missing: a body without something that is needed, and the name that the answer gives it.
        empty: an empty list where products are wanted.
        many: a body of many products, and one of them; None where a body holds one.
    """

    path: str
    body: str
    text: str
    status: int | None
    missing: tuple[str, str]
    empty: str
    many: tuple[str, str] | None = None


ROUTES = {
    "elo7": Route(
        "/v1/categorize",
        '{"products": [{"title": %s}]}',
        "/products/0/title",
        400,
        ('{"products": [{"price": 1}]}', "/products/0/title"),
        '{"products": []}',
        ('{"products": [%s]}', '{"title":"a"}'),
    ),
    "asos": Route(
        "/infer",
        '[{"name": %s, "description": "", "product_id": 1}]',
        "/0/name",
        None,
        ('[{"name": "a", "description": "b"}]', "/0/product_id"),
        "[]",
        ("[%s]", '{"name":"a","description":"b","product_id":1}'),
    ),
    "newsgroups": Route("/prediction", '{"text": %s}', "/text", 405, ('{"label": "space"}', "/text"), "[]"),
    "amazon": Route("/v1/main_cat", '{"title": %s}', "/title", None, ('{"brand": "Rex"}', "title"), "[]"),
    "own": Route(
        "/v1/catalogs/demo/predictions",
        '{"products": [{"title": %s}]}',
        "/products/0/title",
        None,
        ('{"items": []}', "/products"),
        '{"products": []}',
        ('{"products": [%s]}', '{"title":"a"}'),
    ),
    "protocol": Route(
        "/v2/models/demo/infer",
        '{"inputs": [{"name": "title", "shape": [1], "datatype": "BYTES", "data": [%s]}]}',
        "/inputs/0/data/0",
        400,
        ('{"inputs": [{"name": "title", "datatype": "BYTES", "data": ["a"]}]}', "/inputs/0/shape"),
        '{"inputs": []}',
        ('{"inputs": [{"name": "title", "shape": [1000000], "datatype": "BYTES", "data": [%s]}]}', '"a"'),
    ),
}

TEXTS: dict[str, tuple[bytes, int, str | None]] = {
    # what stands where the text should: JSON, the kind of refusal, what the answer says of the place; None: its name
    "a number": (b"7", 422, None),
    "an object": (b'{"a": 1}', 422, None),
    "null": (b"null", 422, "title|name|text"),
    "blanks": (b'" \\n "', 422, "title|name|text"),
    "10 MB": (b'"' + b"ab " * 3_500_000 + b'"', 422, None),
    "lists in lists": (b"[" * 900 + b"]" * 900, 422, None),
    "lists without an end": (b"[" * 100_000, 422, "JSON"),
    "NaN": (b"NaN", 422, "JSON"),
    "a number beyond all numbers": (b"1e999", 422, "JSON"),
    "bytes that are not UTF-8": (b'"\xff\xfe"', 422, "JSON"),
    "half a pair of surrogates": (b'"\\ud83d"', 422, "JSON"),
    "an open string": (b'"abc', 422, "JSON"),
    "JavaScript": (b"undefined", 422, "JSON"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_home(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(home, tmp_path_factory.mktemp("api") / "log") as started:
        yield started


@pytest.fixture(params=ROUTES)
def route(request: pytest.FixtureRequest, server: Server) -> Iterator[Route]:
    """Each route; behind every test it must still answer a good body, and nothing may have gone wrong inside."""
    chosen = ROUTES[request.param]
    yield chosen
    good = post(server, chosen, filled(chosen, b'"colar puck rose leash"'))
    assert good.status_code == 200, good.text
    assert not [line for line in server.lines() if line["level"] == "error"]


def filled(route: Route, text: bytes) -> bytes:
    return route.body.encode().replace(b"%s", text)


def post(server: Server, route: Route, body: bytes, headers: dict[str, str] = JSON) -> httpx.Response:
    return server.client.post(route.path, content=body, headers=headers)


def refused(answer: httpx.Response, route: Route, kind: int) -> dict[str, Any]:
    """The problem document, which must have the route's own status for this kind of refusal."""
    said = answer.json()
    assert answer.status_code == said["status"] == (route.status or kind), said
    return said


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_cannot_be_used(server: Server, route: Route, text: str):
    written, kind, says = TEXTS[text]
    said = refused(post(server, route, filled(route, written)), route, kind)
    named = said["errors"][0]
    if says is None:
        assert named["pointer"].startswith(route.text), said
    else:
        assert any(word in named["pointer"] + named["detail"] for word in says.split("|")), said


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"\xff", b"null", b'"text"', b"7", b"true", b"<a/>"], ids=repr)
def test_a_body_that_is_something_else(server: Server, route: Route, body: bytes):
    assert refused(post(server, route, body), route, 422)["errors"][0]["pointer"] == ""


def test_something_needed_is_missing(server: Server, route: Route):
    body, name = route.missing
    said = refused(post(server, route, body.encode()), route, 422)
    assert name in said["errors"][0]["pointer"] + said["errors"][0]["detail"], said


def test_a_list_with_nothing_in_it(server: Server, route: Route):
    said = refused(post(server, route, route.empty.encode()), route, 422)
    assert said["errors"][0]["pointer"] == ("/" + route.text.split("/")[1] if route.empty.startswith("{") else "")


@pytest.mark.parametrize("kind", ["text/plain", "text/csv", "application/xml", "application/octet-stream"])
def test_another_content_type(server: Server, route: Route, kind: str):
    said = refused(post(server, route, filled(route, b'"a"'), {"Content-Type": kind}), route, 415)
    assert kind in said["detail"]
    assert "application/json" in said["hint"]


def test_a_body_larger_than_allowed(server: Server, route: Route):
    said = refused(post(server, route, filled(route, b'"' + b"x" * (17 << 20) + b'"')), route, 413)
    assert "16 MiB" in said["detail"]


@pytest.mark.parametrize("route", [name for name, route in ROUTES.items() if route.many], indirect=True)
def test_a_million_products(server: Server, route: Route):
    assert route.many is not None
    body, one = route.many
    written = (body % ",".join([one] * 1_000_000)).encode()
    said = refused(post(server, route, written), route, 413)
    if len(written) > 16 << 20:
        assert "16 MiB" in said["detail"]
    else:  # what would take too much memory is not even counted
        assert re.search("too many values|1,000,000 products", said["detail"])


def test_a_tensor_is_blamed_at_its_own_place(server: Server):
    def pointer(*tensors: tuple[str, list[int], list[Any]]) -> str:
        inputs = [{"name": name, "shape": shape, "datatype": "BYTES", "data": data} for name, shape, data in tensors]
        answer = server.client.post(ROUTES["protocol"].path, json={"inputs": inputs})
        assert answer.status_code == 400
        return answer.json()["errors"][0]["pointer"]

    assert pointer(("title", [2], ["a", "b"]), ("price", [2], [1, {}])) == "/inputs/1/data/1"
    assert pointer(("title", [2], ["a", ""])) == "/inputs/0/data/1"
    assert pointer(("title", [2], ["a", "b"]), ("also_buy", [2, 2], [["c", "d"], ["e", 7]])) == "/inputs/1/data/1/1"
    assert pointer(("title", [2], ["a", "b"]), ("also_buy", [2, 2], ["c", "d", "e", 7])) == "/inputs/1/data/3"
    assert pointer(("title", [1], [["a", "b"]])) == "/inputs/0/data"


def begun(server: Server, route: Route, body: bytes, more: int) -> socket.socket:
    """A connection on which a body was begun, that says it will be `more` bytes longer."""
    wire = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = f"POST {route.path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    wire.sendall(f"{head}Content-Length: {len(body) + more}\r\n\r\n".encode() + body)
    return wire


def test_bodies_that_do_not_arrive_get_the_status_of_the_contract_while_others_are_served(home: Path, tmp_path: Path):
    with running(home, tmp_path / "log", api_timeout_s=str(TIMEOUT_S)) as server, ExitStack() as wires:
        slow = {name: wires.enter_context(begun(server, route, b"{", 100)) for name, route in ROUTES.items()}
        heads = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(100)]
        for wire in heads:
            wires.enter_context(wire)
            wire.sendall(b"POST /prediction HTTP/1.1\r\nHost: a\r\nX-Half")  # heads that do not arrive either
        for route in ROUTES.values():
            assert post(server, route, filled(route, b'"colar puck rose leash"')).status_code == 200
        for name, route in ROUTES.items():
            answer = http.client.HTTPResponse(slow[name])
            answer.begin()
            assert answer.status == (route.status or 408), name
            assert f"not arrived after {TIMEOUT_S} seconds" in json.loads(answer.read())["detail"]


def test_bodies_that_arrive_byte_by_byte_are_answered(server: Server):
    for route in ROUTES.values():
        body = filled(route, b'"colar puck"')
        with begun(server, route, b"", len(body)) as wire:
            for byte in body:
                wire.sendall(bytes([byte]))
                time.sleep(0.001)
            assert wire.recv(65_536).startswith(b"HTTP/1.1 200"), route.path


def test_connections_that_are_cut_are_nobodys_error(home: Path, tmp_path: Path):
    with running(home, tmp_path / "log", log_level="info") as server:
        for route in ROUTES.values():
            body = filled(route, b'"colar puck rose leash"')
            begun(server, route, body[:5], 100).close()  # before all has arrived
            begun(server, route, body, 0).close()  # before the answer
        assert accepts(server.port)
        cut = 'status="499"'
        wait_for(lambda: server.client.get("/metrics").text.count(cut) >= len(ROUTES), 10)
        for route in ROUTES.values():
            assert post(server, route, filled(route, b'"colar puck rose leash"')).status_code == 200
        assert not [line for line in server.lines() if line["level"] == "error"]
