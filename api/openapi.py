"""The OpenAPI document: what FastAPI writes, with the statuses that are really sent."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from api.guard import OPEN
from api.operations import version
from api.problems import Problem, documented
from api.schemas import PredictionBody

__all__ = ["describe"]

_DESCRIPTION = """\
Categories for products, from the same models that label whole catalogues every night.

Every refusal is a problem document (RFC 9457) with a `detail`, a `hint` what to do next and, where a body is to blame,
`errors` with a JSON Pointer to each field. Every answer carries `X-Request-ID`: yours, if you send one.
"""

_ANYWHERE = {
    401: "A key is needed, and none or an unknown one was sent.",
    429: "More requests a second than one client may make; `Retry-After` says when to go on.",
    500: "Something went wrong that is not the request's fault.",
}


def main() -> None:
    """Print the document, for docs/openapi.json: `python -m api.openapi > docs/openapi.json`."""
    from api.api import app

    print(json.dumps(describe(app), indent=2, ensure_ascii=False))


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="Aisle",
            version=version(),
            summary="Categories for products",
            description=_DESCRIPTION,
            routes=app.routes,
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        _add_shapes(made)
        for path, operations in made["paths"].items():
            for operation in operations.values():
                _settle_statuses(operation, path)
        for route in app.routes:
            if isinstance(route, APIRoute):
                _name(made, route)
        app.openapi_schema = made
    return app.openapi_schema


def _name(made: dict[str, Any], route: APIRoute) -> None:
    """Call operations like their functions, for that is what the methods of generated clients are called."""
    for method in route.methods or ():
        made["paths"][route.path_format][method.lower()]["operationId"] = route.name


def _add_shapes(made: dict[str, Any]) -> None:
    _, shapes = models_json_schema(
        [(Problem, "serialization"), (PredictionBody, "validation")], ref_template="#/components/schemas/{model}"
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for shape in ("HTTPValidationError", "ValidationError"):
        schemas.pop(shape, None)
    for name, shape in shapes["$defs"].items():
        schemas.setdefault(name, shape)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A key of AISLE_API_KEYS."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    }


def _settle_statuses(operation: dict[str, Any], path: str) -> None:
    guarded = path not in OPEN
    statuses = operation["responses"]
    automatic = statuses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if automatic.get("$ref", "").endswith("HTTPValidationError"):
        del statuses["422"]
    for status, text in documented(_ANYWHERE, path).items():
        if guarded or status == 500:
            statuses.setdefault(str(status), text)
    if guarded:
        # Either key, or none where the service asks for none.
        operation["security"] = [{"bearer": []}, {"header": []}, {}]
    operation["responses"] = dict(sorted(statuses.items()))


if __name__ == "__main__":
    main()
