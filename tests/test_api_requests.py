"""Every request that is written down for people is sent to a real server: editors', curl's, Postman's, the pages'."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs import requests
from tests.api_server import PROJECT, Server, running, shared_home

DEPLOY = PROJECT / "deploy"
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
WRITTEN = requests.read()
COLLECTION = json.loads((DEPLOY / "postman_collection.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = shared_home(tmp_path_factory.getbasetemp())
    with running(home, tmp_path_factory.mktemp("api") / "log") as started:
        yield started


@pytest.fixture(scope="module")
def curl() -> str:
    found = shutil.which("curl")
    if found is None:
        pytest.skip("curl is not installed")
    return found


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written.name)
def test_every_request_for_editors_runs(server: Server, written: requests.Written):
    body = written.body.encode() or None
    answer = server.client.request(written.method, written.path, headers=written.headers, content=body)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("item", COLLECTION["item"], ids=lambda item: item["name"])
def test_every_request_of_the_postman_collection_runs(server: Server, item: dict[str, Any]):
    asked, url = item["request"], item["request"]["url"]
    query = "&".join(f"{one['key']}={one['value']}" for one in url.get("query", []))
    assert url["raw"] == "/".join([*url["host"], *url["path"]]) + (f"?{query}" if query else "")
    address = url["raw"]
    for variable in COLLECTION["variable"]:
        address = address.replace(f"{{{{{variable['key']}}}}}", {requests.HOST: server.url}[variable["value"]])
    headers = {header["key"]: header["value"] for header in asked["header"]}
    body = asked["body"]["raw"].encode() if "body" in asked else None
    answer = server.client.request(asked["method"], address, headers=headers, content=body)
    assert answer.status_code == 200, answer.text


def test_every_curl_line_of_the_script_runs(server: Server, curl: str):
    script = DEPLOY / "requests.sh"
    assert os.access(script, os.X_OK)
    assert script.read_text().count("\ncurl ") == len(WRITTEN)
    done = subprocess.run([script, server.url], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2_000:]
    refused = subprocess.run([script, f"{server.url}/nowhere"], capture_output=True, text=True, check=False)
    assert refused.returncode == 22  # curl's word for a refusal: a line that fails is not passed over


def curl_lines() -> list[str]:
    return [line for page in PAGES for line in re.findall(r"^curl .*", page.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("line", curl_lines())
def test_every_curl_line_of_the_pages_runs(server: Server, curl: str, line: str, tmp_path: Path):
    (tmp_path / "products.jsonl").write_text('{"title": "Wooden train set"}\n{"title": "Watering can"}\n')
    assert requests.HOST in line
    here = line.replace("curl ", "curl --fail-with-body ", 1).replace(requests.HOST, server.url)
    here = here.replace("/catalogs/shop/", "/catalogs/demo/")  # the tutorial's own; a slow test of it trains that one
    done = subprocess.run(["bash", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert all(json.loads(answer) for answer in done.stdout.splitlines())


def test_the_three_files_say_the_same():
    assert (DEPLOY / "requests.sh").read_text(encoding="utf-8") == requests.as_curl(WRITTEN), "run scripts/docs"
    written = (DEPLOY / "postman_collection.json").read_text(encoding="utf-8")
    assert written == requests.as_postman(WRITTEN), "run scripts/docs"


def test_every_route_has_a_request():
    paths = json.loads((PROJECT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    asked = {(written.method.lower(), written.path.partition("?")[0]) for written in WRITTEN}
    for path, methods in paths.items():
        for method in methods:
            pattern = re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(path))
            assert any(own == method and re.fullmatch(pattern, at) for own, at in asked), f"{method} {path}"
