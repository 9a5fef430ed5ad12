"""The contract of the newsgroups service: one text in, one label out; 405 for a body that does not validate."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.bodies import contract_route
from api.problems import NO_CHAMPION, documented
from api.service import service_of

__all__ = ["router"]

# Not what 405 is for, but what this contract's OpenAPI document says, and what its clients look for.
router = APIRouter(tags=["contract: newsgroups"], route_class=contract_route(405), strict_content_type=False)


class Post(BaseModel):
    """A post."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "The goalie stopped every puck in the game."}]})

    text: str = Field(min_length=1)


class Label(BaseModel):
    """What a post is about."""

    label: str = Field(examples=["hockey"])


@router.post(
    "/prediction",
    summary="What a post is about",
    response_model=Label,
    responses=documented({405: "The body does not validate."} | NO_CHAMPION),
)
async def label_post(body: Post, request: Request) -> Response:
    """The label of a post."""
    labels = await service_of(request).labels(request, "newsgroups", [{"text": body.text}], lambda _, steps: steps)
    return Response(orjson.dumps({"label": labels[0]}), media_type="application/json")
