"""Each outside contract, as its users wrote it, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api_server import Server, running, shared_home

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = shared_home(tmp_path_factory.getbasetemp())
    with running(home, tmp_path_factory.mktemp("api") / "log", api_max_products="50") as started:
        yield started


def post(server: Server, path: str, body: Any) -> httpx.Response:
    return server.client.post(path, json=body)


def test_elo7_categories_come_in_the_order_of_the_titles(server: Server):
    body = {"products": [{"title": "colar prata"}, {"title": "Quadro parede"}, {"title": "manta fralda"}]}
    answer = post(server, "/v1/categorize", body)
    assert answer.status_code == 200
    assert answer.json() == {"categories": ["Bijuterias e Jóias", "Decoração", "Bebê"]}


def test_elo7_allows_more_fields(server: Server):
    product = {
        "title": "colar prata",
        "price": 12.5,
        "concatenated_tags": "colar",
        "seller_id": 7,
        "query": None,
        "x": {},
    }
    answer = post(server, "/v1/categorize", {"products": [product], "trace": "abc"})
    assert (answer.status_code, answer.json()) == (200, {"categories": ["Bijuterias e Jóias"]})


def test_asos_answers_a_bare_list_with_a_bare_list(server: Server):
    body = [
        {"name": "striped top", "description": "breton line", "product_id": 12},
        {"name": "rose dress", "description": "floral bloom", "product_id": "12-b"},
    ]
    answer = post(server, "/infer", body)
    assert answer.status_code == 200
    assert answer.json() == [{"pattern": "Stripe", "product_id": 12}, {"pattern": "Floral", "product_id": "12-b"}]


def test_newsgroups_labels_one_text(server: Server):
    answer = post(server, "/prediction", {"text": "the goalie stopped the puck"})
    assert (answer.status_code, answer.json()) == (200, {"label": "hockey"})


def test_amazon_ignores_what_gives_the_answer_away(server: Server):
    product = {
        "title": "leash for a dog",
        "description": ["kibble", "litter"],
        "feature": ["for cats"],
        "brand": "Rex",
        "also_buy": ["B000000001"],
        "also_view": [],
        "asin": "B000000002",
        "image": ["http://example.org/a.jpg"],
        "price": "$12.99",
    }
    expected = {"main_cat": "Pet Supplies"}
    for given_away in ({}, {"category": ["Books"], "main_cat": "Books"}, {"main_cat": 7}):
        answer = post(server, "/v1/main_cat", product | given_away)
        assert (answer.status_code, answer.json()) == (200, expected)


def test_amazon_needs_one_text_and_nothing_else(server: Server):
    for product in ({"title": "novel"}, {"description": ["paperback"]}, {"feature": "author", "title": None}):
        assert post(server, "/v1/main_cat", product).json() == {"main_cat": "Books"}
    answer = post(server, "/v1/main_cat", {"brand": "Rex", "price": "$1"})
    assert answer.status_code == 422
    assert "title, description, feature" in answer.json()["detail"]


ELO7 = "/v1/categorize"
ASOS = "/infer"
NEWSGROUPS = "/prediction"
AMAZON = "/v1/main_cat"
BAD = [  # what each contract asks for beside what test_api_bad_input.py sends to all
    # route, body, the pointer that the answer names
    (ELO7, b'{"products": [{"title": "a"}]', ""),
    (ELO7, b'[{"title": "a"}]', ""),
    (ELO7, b"{}", "/products"),
    (ELO7, b'{"products": null}', "/products"),
    (ELO7, b'{"products": "Lembrancinha"}', "/products"),
    (ELO7, b'{"products": [{}]}', "/products/0/title"),
    (ELO7, b'{"products": [{"title": "a"}, {"title": null}]}', "/products/1/title"),
    (ELO7, b'{"products": [{"title": ["a"]}]}', "/products/0/title"),
    (ELO7, b'{"products": [{"title": ""}]}', "/products/0/title"),
    (ELO7, b'{"products": ["a"]}', "/products/0"),
    (ELO7, b'{"products": [{"title": "a", "price": {}}]}', "/products/0/price"),
    (ELO7, b'{"products": ' + b"[" * 900 + b"]" * 900 + b"}", "/products/0"),
    (NEWSGROUPS, b"[]", ""),
    (NEWSGROUPS, b"{}", "/text"),
    (NEWSGROUPS, b'{"text": ["a"]}', "/text"),
    (NEWSGROUPS, b'{"text": ""}', "/text"),
    (ASOS, b"{}", ""),
    (ASOS, b'[{"name": "a", "description": null, "product_id": 1}]', "/0/description"),
    (ASOS, b'[{"name": "", "description": "", "product_id": 1}]', "/0"),
    (ASOS, b'[{"name": "a", "description": "b", "product_id": {}}]', "/0/product_id"),
    (AMAZON, b"{}", ""),
    (AMAZON, b'{"title": "a", "also_buy": [1]}', "/also_buy/0"),
]
STATUS = {ELO7: 400, NEWSGROUPS: 405, ASOS: 422, AMAZON: 422}


@pytest.mark.parametrize(("route", "body", "pointer"), BAD, ids=lambda value: str(value)[:50])
def test_a_bad_body_gets_the_status_of_the_contract_and_the_name_of_the_field(
    server: Server, route: str, body: bytes, pointer: str
):
    answer = server.client.post(route, content=body, headers=JSON)
    said = answer.json()
    assert answer.status_code == said["status"] == STATUS[route], said
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["errors"][0]["pointer"] == pointer, said
    assert said["request_id"] == answer.headers["x-request-id"]


def test_a_missing_content_type_is_taken_for_json(server: Server):
    request = server.client.build_request("POST", NEWSGROUPS, content=b'{"text": "puck"}')
    request.headers.pop("content-type", None)
    assert server.client.send(request).json() == {"label": "hockey"}


def test_more_products_than_allowed_are_refused(server: Server):
    answer = post(server, ELO7, {"products": [{"title": "colar"}] * 51})
    assert answer.status_code == 400
    assert "51 products" in answer.json()["detail"]
    assert post(server, ASOS, [{"name": "a", "description": "b", "product_id": 1}] * 51).status_code == 413


@pytest.mark.parametrize(("path", "status"), [("/v1/categorize", 400), ("/prediction", 405)])
def test_the_openapi_document_says_the_status_of_the_contract_and_not_422(server: Server, path: str, status: int):
    operation = server.client.get("/openapi.json").json()["paths"][path]["post"]
    assert str(status) in operation["responses"]
    assert "422" not in operation["responses"]


def test_a_contract_without_a_champion_says_how_to_make_one(tmp_path: Path):
    with running(tmp_path / "var", tmp_path / "log") as empty:
        answer = post(empty, NEWSGROUPS, {"text": "puck"})
    assert answer.status_code == 503
    assert "aisle run newsgroups" in answer.json()["hint"]
