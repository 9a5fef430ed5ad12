"""The contract of ASOS: a bare list of products in, a bare list of patterns out."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, StrictInt, StrictStr

from api.bodies import contract_route
from api.problems import BODY_REFUSALS, NO_CHAMPION, documented
from api.service import service_of

__all__ = ["router"]

router = APIRouter(tags=["contract: asos"], route_class=contract_route(), strict_content_type=False)


EXAMPLE: list[dict[str, Any]] = [
    {
        "name": "ASOS DESIGN midi tea dress in ditsy floral",
        "description": "Dress by ASOS DESIGN; Floral all over; V-neck; Tie waist",
        "product_id": 1234567,
    }
]


class Dress(BaseModel):
    """A dress."""

    name: str
    description: str
    product_id: StrictInt | StrictStr


class Pattern(BaseModel):
    """The pattern of a dress."""

    pattern: str = Field(examples=["Floral"])
    product_id: int | str = Field(description="As it was given.", examples=[1234567])


@router.post(
    "/infer",
    summary="Patterns of dresses",
    response_model=list[Pattern],
    responses=documented(BODY_REFUSALS | NO_CHAMPION),
)
async def dress_patterns(
    body: Annotated[list[Dress], Body(min_length=1, examples=[EXAMPLE])], request: Request
) -> Response:
    """The pattern of each product, in the order given, with its id."""
    products = [{"name": product.name, "description": product.description} for product in body]
    labels = await service_of(request).labels(request, "asos", products, lambda number, steps: (number, *steps))
    patterns = [
        {"pattern": label, "product_id": product.product_id} for label, product in zip(labels, body, strict=True)
    ]
    return Response(orjson.dumps(patterns), media_type="application/json")
