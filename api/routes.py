"""Our own routes: predictions in order, stored predictions, and what is served."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from api import ndjson
from api.bodies import JsonRequest, content_type
from api.champions import Champion
from api.problems import BODY_REFUSALS, NO_CHAMPION, FieldProblem, Refusal, documented, invalid
from api.schemas import EXAMPLE_BODY, CatalogDetail, CatalogList, Predictions, StoredPrediction
from api.service import service_of
from catalogs import registry
from catalogs.spec import CatalogSpec
from core.errors import AisleError, did_you_mean

__all__ = ["router"]


class PlainRoute(APIRoute):
    """A route that has FastAPI read its query where there is one: its machinery runs also for none."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. What is raised becomes an answer further out, as it does for all routes."""
        if scope["query_string"] or scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        answer: Response = await self.endpoint(Request(scope, receive, send), **scope["path_params"])
        await answer(scope, receive, send)


router = APIRouter(route_class=PlainRoute, prefix="/v1/catalogs", tags=["catalogues"])

Name = Annotated[str, Path(description="Name of a catalogue.", examples=["demo"])]
NO_CATALOG = {404: "There is no catalogue of that name."}


@router.get("", summary="What is served", response_model=CatalogList)
async def list_catalogs(request: Request) -> Response:
    """Every catalogue that is declared, and the version of the model that answers for it."""
    champions = service_of(request).champions
    rows = []
    for name in champions.names():
        champion = champions.get(name)
        spec = _declared(name) or (champion.spec if champion else None)
        rows.append(
            {
                "name": name,
                "title": spec.title if spec else None,
                "contract": spec.contract if spec else None,
                "model_version": champion.record.version if champion else None,
            }
        )
    return _json({"catalogs": rows})


@router.get(
    "/{name}",
    summary="One catalogue: fields, labels, model",
    response_model=CatalogDetail,
    responses=documented(NO_CATALOG),
)
async def get_catalog(request: Request, name: Name) -> Response:
    """What a product of this catalogue may hold, the labels there are, and the model with its metrics."""
    champions = service_of(request).champions
    champion = champions.get(name)
    spec = champion.spec if champion else _declared(name)
    if spec is None:
        raise Refusal(404, f"there is no catalogue '{name[:80]}'", hint=did_you_mean(name, champions.names()))
    problem = champions.problem(name)
    return _json(
        {
            "name": name,
            "title": spec.title,
            "licence": spec.licence,
            "contract": spec.contract,
            "id": spec.id,
            "levels": spec.levels,
            "fields": [{"name": field.name, "column": field.column, "kind": field.kind} for field in spec.fields],
            "labels": champion.model.labels if champion else spec.label.allowed,
            "model": _model(champion) if champion else None,
            "problem": None if problem is None else {"detail": problem.message, "hint": problem.hint},
        }
    )


@router.post(
    "/{name}/predictions",
    summary="Labels for products, in order",
    response_model=Predictions,
    responses={
        200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}},
        **documented(NO_CATALOG | NO_CHAMPION | BODY_REFUSALS),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/PredictionBody"},
                    "example": EXAMPLE_BODY,
                },
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": "".join(orjson.dumps(product).decode() + "\n" for product in EXAMPLE_BODY["products"]),
                },
            },
        }
    },
)
async def predict(
    request: Request,
    name: Name,
    reasons: Annotated[bool, Query(description="Whether to explain each label by its strongest tokens.")] = True,
) -> Response:
    """Label or path, confidence, decision, runner-up, reasons and model version of each product, in the order given.

    Send `{"products": [...]}`, or the bare list. Products are keyed as the rows of the catalogue's files; what the
    model does not read is ignored. As `application/x-ndjson`, one product a line, any number of them is answered as a
    stream, one line each; a line that cannot be answered gets a problem document instead, and the others go on.
    """
    service = service_of(request)
    champion = service.champions.of(name)
    if content_type(request) in ndjson.MEDIA_TYPES:
        return ndjson.stream(request, service, champion, reasons=reasons)
    body = await JsonRequest(request.scope, request.receive).json()
    products, prefix = _products_of(body)
    answers = await service.answer(
        request, champion, products, lambda number, steps: (*prefix, number, *steps), reasons=reasons
    )
    record = champion.record
    head = orjson.dumps({"catalog": record.catalog, "model_version": record.version, "model_digest": record.digest})
    return Response(head[:-1] + b',"predictions":' + answers.json() + b"}", media_type="application/json")


@router.get(
    "/{name}/predictions/{product_id:path}",
    summary="The stored prediction of a product",
    response_model=StoredPrediction,
    responses=documented({404: "There is no such catalogue, or no prediction of that product.", **NO_CHAMPION}),
)
async def get_prediction(
    request: Request,
    name: Name,
    product_id: Annotated[str, Path(description="Id of a product.", examples=["D000-0000001"])],
) -> Response:
    """The product's row of the SQL view `predictions`: what the last recorded run left, a person's word included."""
    service = service_of(request)
    if name not in service.champions.names():
        raise Refusal(404, f"there is no catalogue '{name[:80]}'", hint=did_you_mean(name, service.champions.names()))
    return _json(await service.stored_prediction(name, product_id))


def _products_of(body: Any) -> tuple[list[Any], tuple[str, ...]]:
    """The products of a body, and the way to them."""
    if isinstance(body, list):
        return body, ()
    if not isinstance(body, dict):
        raise invalid([FieldProblem(pointer="", detail='must be a list of products, or {"products": [...]}')])
    if "products" not in body:
        detail = 'is missing: send {"products": [...]} or a list, also of one product'
        raise invalid([FieldProblem(pointer="/products", detail=detail)])
    products = body["products"]
    if not isinstance(products, list):
        detail = "must not be null" if products is None else "must be a list of products"
        raise invalid([FieldProblem(pointer="/products", detail=detail)])
    return products, ("products",)


def _declared(name: str) -> CatalogSpec | None:
    try:
        return registry.load(name)
    except AisleError:
        return None


def _model(champion: Champion) -> dict[str, Any]:
    metrics = champion.record.metrics
    shown = champion.policy.select("label", "level", "threshold", "precision", "coverage", "reason", "review_all")
    return {
        "version": champion.record.version,
        "digest": champion.record.digest,
        "recipe": champion.record.recipe,
        "training_rows": champion.model.rows,
        "metrics": {key: metrics.get(key) for key in ("rows", "accuracy", "macro_f1", "weighted_f1")},
        "policy": shown.to_dicts(),
    }


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content, default=str), media_type="application/json")
