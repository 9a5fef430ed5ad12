"""The requests of deploy/requests.http, and the same as curl lines and as a Postman collection."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

__all__ = ["DEPLOY", "HOST", "Written", "as_curl", "as_postman", "read"]

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
HOST = "http://127.0.0.1:8000"
"""Where a server listens unless it is told otherwise."""

_CURL = f"""\
#!/usr/bin/env bash
# The requests of requests.http as curl lines, each to be copied as it is once `host` is set; all of them:
#   deploy/requests.sh [{HOST}]
set -euo pipefail
host=${{1:-{HOST}}}
"""
_ABOUT = "The requests of deploy/requests.http. Where the service asks for keys, add the header X-API-Key."
_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


@dataclass(frozen=True)
class Written:
    """A request.

    Attributes:
        name: what it is for.
        method: the HTTP method.
        path: with its query, without the host.
        headers: name to value.
        body: empty where there is none.
    """

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: str


def read() -> list[Written]:
    """Every request of deploy/requests.http, in order."""
    found = []
    for part in (DEPLOY / "requests.http").read_text(encoding="utf-8").split("\n### ")[1:]:
        name, _, rest = part.partition("\n")
        head, _, body = rest.partition("\n\n")
        first, *headers = head.splitlines()
        method, address = first.split(" ", 1)
        pairs = dict(line.split(": ", 1) for line in headers)
        found.append(Written(name, method, address.removeprefix("{{host}}"), pairs, body.strip()))
    return found


def as_curl(requests: list[Written]) -> str:
    """A script of curl lines, which ends at the first refusal."""
    return "\n".join([_CURL, *map(_curl, requests)])


def as_postman(requests: list[Written]) -> str:
    """A Postman collection, version 2.1."""
    collection = {
        "info": {"name": "Aisle", "description": _ABOUT, "schema": _SCHEMA},
        "variable": [{"key": "host", "value": HOST}],
        "item": [_item(request) for request in requests],
    }
    return json.dumps(collection, indent=2, ensure_ascii=False) + "\n"


def _curl(request: Written) -> str:
    words = [f'curl -sS --fail-with-body -w "\\n" "$host{request.path}"']
    words += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in request.headers.items()]
    if request.body:
        words.append(f"--data-binary {shlex.quote(request.body)}")
    return f"# {request.name}\n" + " \\\n  ".join(words) + "\n"


def _item(request: Written) -> dict[str, object]:
    parts = urlsplit(request.path)
    url: dict[str, object] = {"raw": f"{{{{host}}}}{request.path}", "host": ["{{host}}"]}
    url["path"] = parts.path.strip("/").split("/")
    if parts.query:
        url["query"] = [{"key": key, "value": value} for key, value in parse_qsl(parts.query)]
    asked: dict[str, object] = {"method": request.method, "url": url}
    asked["header"] = [{"key": name, "value": value} for name, value in request.headers.items()]
    if request.body:
        language = "json" if request.headers["Content-Type"] == "application/json" else "text"
        asked["body"] = {"mode": "raw", "raw": request.body, "options": {"raw": {"language": language}}}
    return {"name": request.name, "request": asked}
