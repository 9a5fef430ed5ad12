"""The contract of Elo7: titles in, categories out, in the same order; 400 for every body that cannot be used."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.bodies import contract_route
from api.problems import NO_CHAMPION, documented
from api.service import service_of

__all__ = ["router"]

router = APIRouter(tags=["contract: elo7"], route_class=contract_route(400), strict_content_type=False)


class Elo7Product(BaseModel):
    """A product. Further fields of the catalogue (concatenated_tags, price, …) are read as well, others are ignored."""

    model_config = ConfigDict(extra="allow")

    title: str = Field(min_length=1)


class Products(BaseModel):
    """Products to categorise."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"products": [{"title": "Lembrancinha"}, {"title": "Colar de prata"}]}]}
    )

    products: list[Elo7Product] = Field(min_length=1)


class Categories(BaseModel):
    """A category for each product, in the same order."""

    categories: list[str] = Field(examples=[["Lembrancinhas"]])


@router.post(
    "/v1/categorize",
    summary="Categories of products",
    response_model=Categories,
    responses=documented({400: "The body cannot be used."} | NO_CHAMPION),
)
async def categorize(body: Products, request: Request) -> Response:
    """The category of each product, in the order given."""
    products = [{"title": product.title, **(product.model_extra or {})} for product in body.products]
    labels = await service_of(request).labels(
        request, "elo7", products, lambda number, steps: ("products", number, *steps)
    )
    return Response(orjson.dumps({"categories": labels}), media_type="application/json")
