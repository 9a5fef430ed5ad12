"""The application: `uvicorn api.api:app`, or `aisle serve`, which also sets up workers, logs and keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from api import inference_protocol, logs, openapi, operations, problems, routes
from api.contracts import amazon, asos, elo7, newsgroups
from api.exchange import exchange_of
from api.guard import Guard
from api.observe import Observed
from api.problems import Refusal
from api.service import Service
from core.errors import AisleError
from core.settings import Settings, get_settings

__all__ = ["app", "create_app"]

log = structlog.get_logger("aisle.api")

ROUTERS = (
    routes.router,
    elo7.router,
    asos.router,
    newsgroups.router,
    amazon.router,
    inference_protocol.router,
    operations.router,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the champions before the first request, look for new ones until the last, and finish what was begun."""
    service: Service = app.state.service
    await service.champions.look()
    served = {name: champion.record.version for name, champion in service.champions.served().items()}
    if served:
        log.info("ready", models=served)
    else:
        nothing = service.champions.nothing_yet()
        log.warning("nothing to predict with yet", detail=nothing.detail, hint=nothing.hint)
    watching = asyncio.create_task(service.champions.watch(service.settings.api_refresh_s))
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    service.close()


def create_app(settings: Settings | None = None) -> FastAPI:
    """A new application with these settings, those of the process by default."""
    chosen = settings or get_settings()
    logs.configure(chosen.log_level)
    made = FastAPI(
        title="Aisle",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    made.state.service = service = Service.of(chosen)
    for router in ROUTERS:
        # Side by side in one list: included routers are searched one within the other, which takes 0.1 ms a request.
        made.router.routes.extend(router.routes)
    made.add_middleware(Guard, settings=chosen)
    made.add_middleware(Observed, held=service.held, timeout_s=chosen.api_timeout_s)
    made.add_exception_handler(HTTPException, _refused)
    made.add_exception_handler(RequestValidationError, _refused)
    made.add_exception_handler(AisleError, _refused)
    made.openapi = lambda: openapi.describe(made)  # type: ignore[method-assign]
    return made


async def _refused(request: Request, error: Exception) -> Response:
    exchange = exchange_of(request.scope)
    if isinstance(error, RequestValidationError):
        refusal: HTTPException = problems.of_validation(error)
    elif isinstance(error, AisleError):
        refusal = problems.of_error(error)
        log.warning("refused", request_id=exchange.request_id, **error.as_dict())
    elif isinstance(error, Refusal):
        refusal = error
    else:
        refusal = _of_routing(request, error)
    return problems.response(refusal, request.scope)


def _of_routing(request: Request, error: Exception) -> HTTPException:
    """What the router says of a path or a method that there is none of, in more words."""
    if not isinstance(error, HTTPException) or error.status_code not in {404, 405}:
        return error if isinstance(error, HTTPException) else HTTPException(500)
    what = f"there is nothing at {request.url.path[:200]}"
    if error.status_code == 405:
        what = f"{request.method[:20]} is not a method of {request.url.path[:200]}"
    return Refusal(error.status_code, what, hint="/docs lists every route", headers=error.headers)


app = create_app()
