"""Writes docs/routes.md: every route of docs/openapi.json, with what it takes and answers, and an example of either."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["page"]

_OPENAPI = Path(__file__).resolve().parent / "openapi.json"
_PROBLEM = "application/problem+json"


def page() -> str:
    """The part of the page that comes from the document."""
    document = json.loads(_OPENAPI.read_text(encoding="utf-8"))
    operations = [(path, method, found) for path, ways in document["paths"].items() for method, found in ways.items()]
    return "\n".join(line for path, method, found in operations for line in _operation(document, path, method, found))


def _operation(document: dict[str, Any], path: str, method: str, found: dict[str, Any]) -> Iterator[str]:
    yield f"## {method.upper()} {path}\n"
    yield f"{found['summary']}. {found.get('description', '')}".strip() + "\n"
    parameters = [_resolved(document, entry) for entry in found.get("parameters", [])]
    if parameters:
        yield "| Parameter | In | Type | Meaning |\n|---|---|---|---|"
        yield from (_parameter(entry) for entry in parameters)
        yield ""
    for kind, content in found.get("requestBody", {}).get("content", {}).items():
        yield from _body(document, f"Takes `{kind}`", content)
    yield "| Status | Content | When |\n|---|---|---|"
    answers = {status: _resolved(document, answer) for status, answer in found["responses"].items()}
    for status, answer in answers.items():
        kinds = ", ".join(f"`{kind}`" for kind in answer.get("content", {}))
        yield f"| {status} | {kinds} | {' '.join(answer['description'].split())} |"
    yield ""
    for status, answer in answers.items():
        for kind, content in answer.get("content", {}).items():
            if kind != _PROBLEM:
                yield from _body(document, f"{status}: `{kind}`", content)


def _parameter(entry: dict[str, Any]) -> str:
    kind = entry["schema"].get("type", "any")
    needed = "" if entry.get("required") else ", optional"
    return f"| `{entry['name']}` | {entry['in']} | {kind}{needed} | {entry.get('description', '')} |"


def _body(document: dict[str, Any], title: str, content: dict[str, Any]) -> Iterator[str]:
    """A body's keys, and its first example."""
    schema = _resolved(document, content.get("schema", {}))
    keys = [f"`{name}`" for name in schema.get("properties", {})]
    example = content.get("example", _first(content.get("examples"), schema.get("examples")))
    yield f"{title}{', with ' + ', '.join(keys) if keys else ''}{', such as:' if example is not None else '.'}\n"
    if isinstance(example, str):
        yield f"```text\n{example.rstrip()}\n```\n"
    elif example is not None:
        yield f"```json\n{json.dumps(example, ensure_ascii=False, indent=2)}\n```\n"


def _first(named: dict[str, Any] | None, listed: list[Any] | None) -> Any:
    if named:
        return next(iter(named.values()))["value"]
    return listed[0] if listed else None


def _resolved(document: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """What a `$ref` points to; anything else itself."""
    found: Any = entry
    while "$ref" in found:
        place: Any = document
        for key in found["$ref"].removeprefix("#/").split("/"):
            place = place[key]
        found = place
    return dict(found)
