"""Routes for whoever runs the service: does it live, is it ready, how is it doing."""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api import metrics
from api.problems import documented
from api.service import service_of

__all__ = ["router", "version"]

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """It lives."""

    status: Literal["ok"]
    version: str = Field(description="Version of Aisle.", examples=["0.1.0"])


class Ready(BaseModel):
    """It answers."""

    status: Literal["ready"]
    models: dict[str, str] = Field(description="Catalogue to the version of its champion.", examples=[{"demo": "v1"}])


@lru_cache(maxsize=1)
def version() -> str:
    """Version of Aisle; a checkout that is not installed has none."""
    try:
        return importlib.metadata.version("aisle")
    except importlib.metadata.PackageNotFoundError:
        return "0+checkout"


@router.get("/health", summary="Does it live?", response_model=Health)
async def health() -> Response:
    """200 as long as the process answers, whatever it can or cannot predict."""
    return _json({"status": "ok", "version": version()})


@router.get(
    "/ready",
    summary="Can it predict?",
    response_model=Ready,
    responses=documented({503: "No catalogue has a champion yet; `hint` says how to make one."}),
)
async def ready(request: Request) -> Response:
    """200 once at least one champion is in memory."""
    champions = service_of(request).champions
    served = champions.served()
    if served:
        return _json({"status": "ready", "models": {name: one.record.version for name, one in served.items()}})
    raise champions.nothing_yet()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_metrics() -> Response:
    """Requests, latency, products, labels, confidence, decisions, model versions and errors."""
    return Response(metrics.exposed(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
