"""The OpenAPI document is complete and true: its examples run, and nothing is sent that it does not say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.api import create_app
from api.openapi import describe
from tests.api_server import PROJECT, Server, running, shared_home


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = shared_home(tmp_path_factory.getbasetemp())
    with running(home, tmp_path_factory.mktemp("api") / "log") as started:
        yield started


def document() -> dict[str, Any]:
    return json.loads((PROJECT / "docs" / "openapi.json").read_text(encoding="utf-8"))


def operations() -> list[tuple[str, str]]:
    return [(method, path) for path, methods in document()["paths"].items() for method in methods]


def described(method: str, path: str) -> dict[str, Any]:
    return document()["paths"][path][method]


def filled(method: str, path: str, **values: str) -> str:
    """A path with these values, and for the other parameters the examples of the document."""
    parameters = [one for one in described(method, path).get("parameters", []) if one["in"] == "path"]
    return path.format(**{one["name"]: one["schema"].get("examples", [None])[0] for one in parameters} | values)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    name = node.get("$ref", "").removeprefix("#/components/schemas/")
    return document()["components"]["schemas"][name] if name else node


def examples(method: str, path: str) -> list[tuple[str, bytes]]:
    """Content type and body of every example of a request."""
    found = []
    for kind, content in described(method, path).get("requestBody", {}).get("content", {}).items():
        own = [content["example"]] if "example" in content else resolved(content["schema"]).get("examples", [])
        found += [(kind, one.encode() if isinstance(one, str) else json.dumps(one).encode()) for one in own]
    return found


def assert_documented(answer: httpx.Response, method: str, path: str) -> None:
    said = described(method, path)["responses"].get(str(answer.status_code))
    assert said is not None, f"{answer.status_code} of {method} {path} is not documented: {answer.text[:300]}"
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in said["content"], f"{answer.status_code} of {method} {path} is sent as {kind}"


def test_the_committed_document_is_the_one_that_is_served(server: Server):
    made = json.loads(json.dumps(describe(create_app())))
    assert document() == made, "write it anew: python -m api.openapi > docs/openapi.json"
    assert server.client.get("/openapi.json").json() == made


def test_every_reference_leads_somewhere_and_every_shape_is_used():
    text = json.dumps(document())
    shapes = document()["components"]["schemas"]
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert used == set(shapes)


def test_operations_have_names_of_their_own():
    names = [described(*operation)["operationId"] for operation in operations()]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_operation_says_what_it_does_and_its_examples_run(server: Server, method: str, path: str):
    told = described(method, path)
    assert told["summary"]
    assert told["description"]
    bodies = examples(method, path)
    assert bodies or method == "get", "a body without an example"
    for kind, body in bodies or [("", b"")]:
        headers = {"Content-Type": kind} if kind else {}
        answer = server.client.request(method, filled(method, path), content=body or None, headers=headers)
        assert_documented(answer, method, path)
        assert answer.status_code == 200, answer.text


def schemathesis(server: Server, folder: Path, examples: int, seed: int) -> None:
    """Call every route with what the document allows, and with what it does not; see schemathesis.toml."""
    words = f"run {PROJECT}/docs/openapi.json --url {server.url} --max-examples {examples} --seed {seed}".split()
    found = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", PROJECT / "tests" / "schemathesis.toml", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"Tested: {len(operations())}" in found.stdout, found.stdout
    assert not [line for line in server.lines() if line["level"] == "error"]


def test_nothing_that_is_sent_gets_a_fault_or_an_answer_that_is_not_documented(server: Server, tmp_path: Path):
    schemathesis(server, tmp_path, examples=10, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_of_much_more_that_is_sent_does_either(server: Server, tmp_path: Path, seed: int):
    schemathesis(server, tmp_path, examples=100, seed=seed)


@pytest.mark.parametrize(("method", "path"), [operation for operation in operations() if "{" in operation[1]])
def test_no_path_gets_a_fault_or_a_status_that_is_not_documented(server: Server, method: str, path: str):
    body = examples(method, path)[0][1] if method == "post" else None
    for odd in ("none", "..", "%2e%2e%2f", "a%00b", "é", "'--", "%ff", "demo ", "x" * 5_000, "DEMO", "%0a"):
        for address in {filled(method, path, version=odd, product_id=odd), filled(method, path, name=odd)}:
            answer = server.client.request(method, address, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500 or answer.status_code == 503, (address, answer.text)
            if answer.status_code != 404:
                assert_documented(answer, method, path)


def test_every_route_metric_and_limit_is_in_the_docs():
    from prometheus_client import REGISTRY

    from core.settings import Settings

    page = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    contracts = (PROJECT / "docs" / "contracts.md").read_text(encoding="utf-8")
    for method, path in operations():
        assert f"`{method.upper()} {path}`" in page, path
    for metric in REGISTRY.collect():
        if metric.name.startswith("aisle_"):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            assert metric.name.endswith("_created") or f"`{name}`" in page, name
    for setting in Settings.model_fields:
        if setting.startswith("api_"):
            assert f"AISLE_{setting.upper()}" in page, setting
    for path in ("/v1/categorize", "/infer", "/prediction", "/v1/main_cat"):
        assert f"`POST {path}`" in contracts
