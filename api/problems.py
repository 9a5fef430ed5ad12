"""What the API says when it says no: problem documents (RFC 9457), the same shape for every route and status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fastapi
import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api.exchange import exchange_of
from core.errors import (
    AisleError,
    ArtifactDamaged,
    HomeNewer,
    HomeUnusable,
    NoChampion,
    NothingPublished,
    TableDamaged,
    UnknownCatalog,
    UnknownModel,
    UnknownProduct,
)

__all__ = [
    "BODY_REFUSALS",
    "NO_CHAMPION",
    "BodyRefusal",
    "FieldProblem",
    "Problem",
    "Refusal",
    "document",
    "documented",
    "invalid",
    "of_error",
    "of_validation",
    "pointer_to",
    "response",
]

MEDIA_TYPE = "application/problem+json"

MOST_FIELDS = 20
"""Field problems that one answer lists; whoever sends a million bad products wants the first few."""

BODY_REFUSALS = {
    408: "The body took too long to arrive.",
    413: "The body is too large, or holds too many products.",
    415: "The body is not JSON by its content type, or is compressed.",
    422: "The body is not JSON, or holds something that cannot be answered; `errors` names each.",
}
"""What a body can be refused for, for the OpenAPI document."""

NO_CHAMPION = {503: "There is no champion yet, or there is no room for this request now; `hint` says which."}

_TITLES = {
    400: "Bad request",
    401: "Key needed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    413: "Too large",
    415: "Not JSON",
    422: "Not valid",
    429: "Too many requests",
    499: "Client left",
    500: "Our fault",
    503: "Not available",
}

_STATUS: dict[type[AisleError], int] = {
    UnknownCatalog: 404,
    UnknownModel: 404,
    UnknownProduct: 404,
    NoChampion: 503,
    ArtifactDamaged: 503,
    NothingPublished: 503,
    TableDamaged: 503,
    HomeUnusable: 503,
    HomeNewer: 503,
}


class FieldProblem(BaseModel):
    """One thing that is wrong with a body."""

    pointer: str = Field(description="Where in the body, as a JSON Pointer (RFC 6901).", examples=["/products/0/title"])
    detail: str = Field(description="What is wrong there.", examples=["is missing"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="The kind of problem.", examples=["urn:aisle:problem:not-valid"])
    title: str = Field(description="The kind of problem, in words.", examples=["Not valid"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What was wrong this time.", examples=["/products/0/title: is missing"])
    hint: str | None = Field(None, description="What to do next.")
    errors: list[FieldProblem] | None = Field(None, description="Every field concerned, up to 20.")
    request_id: str | None = Field(None, description="The request, as the logs name it.")


class Refusal(fastapi.HTTPException):
    """A request that is not answered as it asked to be.

    Args:
        status: the HTTP status.
        detail: what was wrong, in one sentence.
        hint: what to do next.
        errors: fields that are wrong.
        headers: further response headers.
        kind: status whose kind of problem it is, where an outside contract answers with another one.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        hint: str | None = None,
        errors: list[FieldProblem] | None = None,
        headers: Mapping[str, str] | None = None,
        kind: int | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind or status
        self.hint = hint
        self.errors = errors


class BodyRefusal(Refusal):
    """A request whose body is to blame: outside contracts answer it with a status of their own."""


def invalid(errors: list[FieldProblem], status: int = 422) -> BodyRefusal:
    """A body with these problems; the first one is the detail."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    first = errors[0]
    detail = f"{first.pointer or 'the body'}: {first.detail}{more}"
    return BodyRefusal(status, detail, errors=errors[:MOST_FIELDS])


def of_validation(error: RequestValidationError) -> Refusal:
    """What pydantic found, in our words."""
    entries = list(error.errors())
    if any(entry["loc"][:1] != ("body",) for entry in entries):
        named = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in entries)
        return Refusal(422, named)
    found: dict[str, list[str]] = {}
    for entry in entries:
        words = found.setdefault(pointer_to(*_steps(entry, error.body)), [])
        if (said := _in_words(entry)) not in words:
            words.append(said)
    # Of a value that could be one thing or another, each is said to be wrong; the deepest complaint is the useful one.
    deepest = {one: words for one, words in found.items() if not any(other.startswith(f"{one}/") for other in found)}
    return invalid([FieldProblem(pointer=pointer, detail=" or ".join(words)) for pointer, words in deepest.items()])


def _steps(entry: dict[str, Any], body: Any) -> list[str | int]:
    """The way to a value through the body; pydantic also names the member of a union that it tried."""
    steps: list[str | int] = []
    place = list(entry["loc"][1:])
    for number, step in enumerate(place):
        inside = (isinstance(body, dict) and step in body) or (isinstance(body, list) and isinstance(step, int))
        if inside:
            steps.append(step)
            body = body[step]
        elif entry["type"] == "missing" and number == len(place) - 1:
            steps.append(step)
    return steps


def pointer_to(*steps: str | int) -> str:
    """A JSON Pointer."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def _in_words(entry: dict[str, Any]) -> str:
    kind = entry["type"]
    if kind == "missing":
        return "is missing"
    if entry.get("input", ...) is None and kind != "missing":
        return "must not be null"
    message = str(entry["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def of_error(error: AisleError) -> Refusal:
    """A named error of a floor below. Where it happened is for the log: it may name a file of this machine."""
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return Refusal(status, error.message, hint=error.hint)


def document(refusal: HTTPException, request_id: str | None = None) -> dict[str, Any]:
    """The problem document of a refusal, as data."""
    kind = refusal.kind if isinstance(refusal, Refusal) else refusal.status_code
    title = _TITLES.get(kind, "Refused")
    said: dict[str, Any] = {
        "type": "urn:aisle:problem:" + title.lower().replace(" ", "-"),
        "title": title,
        "status": refusal.status_code,
        "detail": refusal.detail,
    }
    if isinstance(refusal, Refusal):
        if refusal.hint:
            said["hint"] = refusal.hint
        if refusal.errors:
            said["errors"] = [error.model_dump() for error in refusal.errors]
    if request_id is not None:
        said["request_id"] = request_id
    return said


def response(refusal: HTTPException, scope: Scope) -> Response:
    """The problem document of a refusal, as a response to a request."""
    said = document(refusal, exchange_of(scope).request_id)
    media_type = MEDIA_TYPE
    if of_protocol(scope["path"]):
        said, media_type = {"error": refusal.detail, **said}, "application/json"
    headers = dict(refusal.headers or {})
    return Response(orjson.dumps(said), refusal.status_code, headers=headers, media_type=media_type)


def of_protocol(path: str) -> bool:
    """Whether a path is one of the Open Inference Protocol, which wants its errors as JSON with `error`."""
    return path == "/v2" or path.startswith("/v2/")


def documented(why: dict[int, str], path: str = "") -> dict[int | str, dict[str, Any]]:
    """Statuses that a route answers with a problem document, for the OpenAPI document."""
    media_type, shape = ("application/json", "ProtocolError") if of_protocol(path) else (MEDIA_TYPE, "Problem")
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    return {status: {"description": text, "content": content} for status, text in why.items()}
