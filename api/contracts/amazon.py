"""The contract of the Amazon challenge: a product without its department in, the department out."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, model_validator

from api.bodies import contract_route
from api.problems import BODY_REFUSALS, NO_CHAMPION, documented
from api.service import service_of

__all__ = ["router"]

router = APIRouter(tags=["contract: amazon"], route_class=contract_route(), strict_content_type=False)

EXAMPLE: dict[str, Any] = {
    "title": "HDMI cable, 2 m, gold plated",
    "description": ["High speed cable for TV and console."],
    "brand": "Cablewell",
    "price": "$7.99",
    "also_buy": ["B00003CWDG"],
}
_TEXTS = ("title", "description", "feature")


class AmazonProduct(BaseModel):
    """A product as in the 2018 metadata.

    All fields are optional, but title, description or feature must say something. `category` and `main_cat` are
    accepted and ignored: they are the answer under another name.
    """

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [EXAMPLE]})

    asin: str | None = None
    title: str | list[str] | None = None
    description: str | list[str] | None = None
    feature: str | list[str] | None = None
    brand: str | None = None
    price: str | StrictFloat | None = None
    also_buy: str | list[str] | None = None
    also_view: str | list[str] | None = None
    image: Any = Field(None, description="Not read.")

    @model_validator(mode="after")
    def _says_something(self) -> AmazonProduct:
        if not any(getattr(self, field) for field in _TEXTS):
            raise ValueError(f"has no text: give at least one of {', '.join(_TEXTS)}")
        return self


class Department(BaseModel):
    """The department of a product."""

    main_cat: str = Field(examples=["All Electronics"])


@router.post(
    "/v1/main_cat",
    summary="The department of a product",
    response_model=Department,
    responses=documented(BODY_REFUSALS | NO_CHAMPION),
)
async def main_cat(body: AmazonProduct, request: Request) -> Response:
    """The department; `category` and `main_cat` in the body are ignored."""
    product = body.model_dump(exclude={"image"}, exclude_none=True)
    labels = await service_of(request).labels(request, "amazon", [product], lambda _, steps: steps)
    return Response(orjson.dumps({"main_cat": labels[0]}), media_type="application/json")
