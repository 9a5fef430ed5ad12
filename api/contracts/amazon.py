"""The contract of the Amazon challenge: a product without its department in, the department out."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.bodies import contract_route
from api.problems import BODY_REFUSALS, NO_CHAMPION, documented
from api.service import service_of

__all__ = ["router"]

router = APIRouter(tags=["contract: amazon"], route_class=contract_route())

_TEXTS = ("title", "description", "feature")


class Product(BaseModel):
    """A product as in the 2018 metadata.

    All fields are optional, but title, description or feature must say something. `category` and `main_cat` are
    accepted and ignored: they are the answer under another name.
    """

    model_config = ConfigDict(extra="ignore")

    asin: str | None = None
    title: str | list[str] | None = Field(None, examples=["HDMI cable, 2 m, gold plated"])
    description: str | list[str] | None = Field(None, examples=[["High speed cable for TV and console."]])
    feature: str | list[str] | None = None
    brand: str | None = Field(None, examples=["Cablewell"])
    price: str | float | None = Field(None, examples=["$7.99"])
    also_buy: str | list[str] | None = None
    also_view: str | list[str] | None = None
    image: Any = Field(None, description="Not read.")

    @model_validator(mode="after")
    def _says_something(self) -> Product:
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
async def main_cat(body: Product, request: Request) -> Response:
    """The department; `category` and `main_cat` in the body are ignored."""
    product = body.model_dump(exclude={"image"}, exclude_none=True)
    labels = await service_of(request).labels(request, "amazon", [product], lambda _: ())
    return Response(orjson.dumps({"main_cat": labels[0]}), media_type="application/json")
