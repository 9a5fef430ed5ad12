"""Our own routes against a real server: the same answers as in SQL, one at a time, in lists and as a stream."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.api_server import ELO7, Row, Server, living_in, running, shared_home, titles
from warehouse.home import Home
from warehouse.query import query

NDJSON = {"Content-Type": "application/x-ndjson"}
PATH = "/v1/catalogs/demo/predictions"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_home(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(home, tmp_path_factory.mktemp("api") / "log", log_level="info") as started:
        yield started


@pytest.fixture(scope="module")
def stored(home: Path) -> list[Row]:
    """Products of the warehouse with what the flow said of them."""
    with living_in(home):
        sql = """SELECT p.title, p.description, p.brand, p.also_buy, p.price, a.* FROM products AS p
                 JOIN predictions AS a USING (catalog, product_id) WHERE p.catalog = 'demo' ORDER BY product_id"""
        return query(Home(home), sql).as_dicts()


def as_product(row: Row) -> Row:
    return {
        "id": row["product_id"],
        **{key: row[key] for key in ("title", "description", "brand", "also_buy", "price")},
    }


def same(answer: Row, row: Row) -> None:
    for key in ("product_id", "label", "label_path", "decision", "runner_up", "confidence", "reasons", "model_version"):
        assert answer[key] == row[key], key


def test_the_same_rows_get_the_same_answers_here_and_in_sql(server: Server, stored: list[Row]):
    answer = server.client.post(PATH, json={"products": [as_product(row) for row in stored]}).json()
    assert answer["catalog"] == "demo"
    assert len(answer["predictions"]) == len(stored) > 1_000
    for said, row in zip(answer["predictions"], stored, strict=True):
        same(said, row)


def test_one_at_a_time_and_side_by_side_the_answers_are_the_same(server: Server, stored: list[Row]):
    def ask(row: Row) -> Row:
        return server.client.post(PATH, json=[as_product(row)]).json()["predictions"][0]

    rows = stored[::12]
    with ThreadPoolExecutor(16) as pool:
        for said, row in zip(pool.map(ask, rows), rows, strict=True):
            same(said, row)


def test_reasons_are_left_out_on_request(server: Server, stored: list[Row]):
    product = as_product(stored[0])
    assert server.client.post(PATH, json=[product]).json()["predictions"][0]["reasons"] != []
    assert server.client.post(f"{PATH}?reasons=false", json=[product]).json()["predictions"][0]["reasons"] == []


def test_a_stored_prediction_is_the_row_of_the_view(server: Server, stored: list[Row]):
    row = stored[3]
    answer = server.client.get(f"{PATH}/{row['product_id']}").json()
    same(answer, row)
    assert answer["decided_by"] == "model"
    missing = server.client.get(f"{PATH}/no/such'--")
    assert missing.status_code == 404
    assert "no/such'--" in missing.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{", ""),
        (b'"text"', ""),
        (b"{}", "/products"),
        (b'{"products": null}', "/products"),
        (b'{"products": {}}', "/products"),
        (b'{"products": []}', "/products"),
        (b"[]", ""),
        (b"[7]", "/0"),
        (b'[{"title": "a"}, {"title": {}}]', "/1/title"),
        (b'[{"title": "a", "price": []}]', "/0/price"),
        (b'{"products": [{"price": 3}]}', "/products/0"),
        (b'{"products": [{"title": "a", "also_buy": ["b", 7]}]}', "/products/0/also_buy/1"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_named(server: Server, body: bytes, pointer: str):
    answer = server.client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer, answer.text


def test_an_unknown_catalogue_gets_a_suggestion(server: Server):
    for method, path in (("POST", "/v1/catalogs/dmo/predictions"), ("GET", "/v1/catalogs/dmo")):
        answer = server.client.request(method, path, json=[{"title": "a"}] if method == "POST" else None)
        assert answer.status_code == 404
        assert "demo" in answer.json()["hint"]


def test_a_catalogue_without_a_champion_says_how_to_make_one(server: Server):
    answer = server.client.post("/v1/catalogs/myntra/predictions", json=[{"productDisplayName": "a"}])
    assert answer.status_code == 503
    assert "aisle run myntra" in answer.json()["hint"]


def test_catalogues_are_listed_with_the_models_that_answer(server: Server):
    rows = {row["name"]: row for row in server.client.get("/v1/catalogs").json()["catalogs"]}
    assert rows["demo"]["model_version"] == "v1"
    assert rows["elo7"]["contract"] == "elo7"
    assert rows["gpc"]["model_version"] is None


def test_a_catalogue_tells_fields_labels_and_metrics(server: Server):
    told = server.client.get("/v1/catalogs/demo").json()
    assert {"name": "also_buy", "column": "also_buy", "kind": "ids"} in told["fields"]
    assert "Kitchen" in told["labels"]
    assert told["model"]["version"] == "v1"
    assert 0 < told["model"]["metrics"]["accuracy"] <= 1
    assert {row["label"] for row in told["model"]["policy"]} == set(told["labels"])


def streamed(server: Server, lines: Iterator[bytes] | bytes, **params: str) -> list[Row]:
    answer = server.client.post(PATH, content=lines, headers=NDJSON, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [orjson.loads(line) for line in answer.content.splitlines()]


def test_a_stream_is_answered_line_by_line_as_the_list_is(server: Server, stored: list[Row]):
    lines = b"".join(orjson.dumps(as_product(row)) + b"\n" for row in stored)
    answers = streamed(server, lines)
    assert [answer["line"] for answer in answers] == list(range(1, len(stored) + 1))
    for said, row in zip(answers, stored, strict=True):
        same(said, row)


def test_a_client_that_sends_everything_before_it_reads_is_served(server: Server):
    def lines() -> Iterator[bytes]:
        for _ in range(60):
            yield orjson.dumps({"title": "wooden train set " * 20}) * 1 + b"\n" + b'{"title": "oak shelf"}\n' * 999

    assert len(streamed(server, lines(), reasons="true")) == 60_000


def test_bad_lines_of_a_stream_are_answered_in_their_place(server: Server):
    lines = [b'{"title": "oak shelf"}', b"{", b"", b'{"title": 7}', b'{"title": "\xff"}', b"  ", b'{"title": "train"}']
    answers = streamed(server, b"\r\n".join(lines))
    assert [answer["line"] for answer in answers] == [1, 2, 4, 5, 7]
    assert [answer.get("problem", {}).get("status") for answer in answers] == [None, 422, 422, 422, None]
    assert answers[2]["problem"]["errors"][0]["pointer"] == "/title"


def test_a_line_beyond_the_limit_costs_only_itself(server: Server):
    long = b'{"title": "' + b"x" * (18 << 20) + b'"}'
    answers = streamed(server, b"\n".join([b'{"title": "oak"}', long, b'{"title": "train"}']))
    assert [(answer["line"], answer.get("problem", {}).get("status")) for answer in answers] == [
        (1, None),
        (2, 413),
        (3, None),
    ]


def test_an_empty_stream_is_refused(server: Server):
    assert server.client.post(PATH, content=b"\n \n", headers=NDJSON).status_code == 422


def test_a_client_may_wait_for_an_answer_before_it_sends_the_next_line(server: Server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        head = f"POST {PATH}?reasons=false HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n"
        wire.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        received = b""
        for number in (1, 2, 3):
            line = b'{"title": "oak shelf"}\n'
            wire.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            while f'"line":{number}'.encode() not in received:
                more = wire.recv(65_536)
                assert more, received
                received += more
        wire.sendall(b"0\r\n\r\n")
        while more := wire.recv(65_536):
            received += more
            if received.endswith(b"\r\n0\r\n\r\n"):
                break
        assert received.endswith(b"\r\n0\r\n\r\n")


def test_a_stream_that_is_cut_leaves_the_others_alone(server: Server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as wire:
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n"
        )
        wire.sendall(head.encode() + b'{"title": "oak shelf"}\n')
    assert len(streamed(server, b'{"title": "oak shelf"}')) == 1
    assert not [line for line in server.lines() if line["level"] == "error"]


def test_the_open_inference_protocol_gives_the_same_labels(server: Server, stored: list[Row]):
    rows = stored[:20]
    tensor = {"name": "title", "shape": [20], "datatype": "BYTES", "data": [row["title"] for row in rows]}
    body: dict[str, Any] = {"id": "42", "inputs": [tensor]}
    answer = server.client.post("/v2/models/demo/infer", json=body).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("demo", "v1", "42")
    outputs = {output["name"]: output for output in answer["outputs"]}
    own = server.client.post(PATH, json=[{"title": row["title"]} for row in rows]).json()["predictions"]
    for name, output in outputs.items():
        assert output["shape"] == [20]
        assert output["data"] == [said[name] for said in own], name
    only = server.client.post("/v2/models/demo/versions/v1/infer", json=body | {"outputs": [{"name": "label"}]}).json()
    assert [output["name"] for output in only["outputs"]] == ["label"]


def test_the_open_inference_protocol_describes_itself(server: Server):
    client = server.client
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "aisle"
    told = client.get("/v2/models/demo").json()
    assert told["versions"] == ["v1"]
    assert {"name": "price", "datatype": "FP64", "shape": [-1, -1]} in told["inputs"]
    assert client.get("/v2/models/demo/ready").json() == {"name": "demo", "ready": True}
    for path, status in (("/v2/models/none", 404), ("/v2/models/demo/versions/v9", 404), ("/v2/models/gpc", 503)):
        answer = client.get(path)
        assert answer.status_code == status
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [{"name": "title", "shape": [2], "datatype": "BYTES", "data": ["a"]}],
        [{"name": "title", "shape": [0], "datatype": "BYTES", "data": []}],
        [{"name": "title", "shape": [1], "datatype": "TEXT", "data": ["a"]}],
        [{"name": "title", "shape": [1], "datatype": "BYTES", "data": [{}]}],
        [{"name": "title", "shape": [-1], "datatype": "BYTES", "data": ["a"]}],
        [{"name": "title", "shape": [1000000000000, 0], "datatype": "BYTES", "data": []}],
        [{"name": "title", "shape": [1000000000000], "datatype": "BYTES", "data": ["a"]}],
        [
            {"name": "title", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
            {"name": "brand", "shape": [1], "datatype": "BYTES", "data": ["c"]},
        ],
    ],
    ids=json.dumps,
)
def test_tensors_that_do_not_fit_are_refused_as_the_protocol_says(server: Server, inputs: list[Row]):
    answer = server.client.post("/v2/models/demo/infer", json={"inputs": inputs})
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_every_request_has_an_id_and_a_line_in_the_log(server: Server):
    given = httpx.post(f"{server.url}{PATH}", json=[{"title": "oak"}], headers={"X-Request-ID": "order-66"})
    assert given.headers["x-request-id"] == "order-66"
    made = httpx.get(f"{server.url}/nowhere", headers={"X-Request-ID": "not usable"})
    line = server.line_of("order-66")
    assert (line["route"], line["status"], line["products"], line["catalog"]) == (
        "/v1/catalogs/{name}/predictions",
        200,
        1,
        "demo",
    )
    assert server.line_of(made.headers["x-request-id"])["status"] == 404


def test_elo7_titles_label_the_same_through_contract_and_own_route(server: Server):
    products = [{"title": title} for _, title in titles(ELO7, 40, 9)]
    own = server.client.post("/v1/catalogs/elo7/predictions", json=products).json()["predictions"]
    contract = server.client.post("/v1/categorize", json={"products": products}).json()["categories"]
    assert contract == [said["label"] for said in own]
