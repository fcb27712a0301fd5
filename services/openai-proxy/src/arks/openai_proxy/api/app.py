"""The ASGI application: OpenAI's API, health checks and metrics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse, PlainTextResponse, Response

from arks.engine.v1.ark_pb2 import HealthResponse
from arks.kit.tracing import Tracer
from arks.kit.types import AsyncCallable
from arks.openai_proxy.api import completions as completion_routes
from arks.openai_proxy.api import errors
from arks.openai_proxy.api.body_limit import BodyLimit
from arks.openai_proxy.api.measure import Measure
from arks.openai_proxy.api.traced import Traced
from arks.openai_proxy.domain.answers import model as model_answer
from arks.openai_proxy.domain.answers import model_list
from arks.openai_proxy.domain.errors import ApiError
from arks.openai_proxy.service.completions import Completions
from arks.openai_proxy.service.ports import Engine, EngineFailed, Meter

_AWAY: dict[int | str, dict[str, Any]] = {503: {"description": "The engine is away, loading or stopping"}}


def build(
    completions: Completions,
    engine: Engine,
    meter: Meter,
    *,
    start: AsyncCallable,
    stop: AsyncCallable,
    body_bytes_limit: int,
    tracer: Tracer | None = None,
) -> FastAPI:
    """`start` and `stop` are called when the server starts and after its last request."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await start()
        yield
        await stop()

    app = FastAPI(title="Arks openai-proxy", summary="An ARK engine over OpenAI's API", lifespan=lifespan)
    errors.install(app)
    app.include_router(completion_routes.router(completions, meter))
    _add_models(app, completions)
    _add_operations(app, engine, meter)
    app.add_middleware(BodyLimit, bytes_limit=body_bytes_limit)
    app.add_middleware(Measure, meter=meter)
    if tracer is not None and tracer.enabled:
        app.add_middleware(Traced, tracer=tracer)
    return app


def _add_models(app: FastAPI, completions: Completions) -> None:
    @app.get("/v1/models", summary="List the engine's models", responses=errors.RESPONSES)
    async def models() -> dict[str, Any]:
        return model_list(await completions.models())

    @app.get("/v1/models/{name:path}", summary="Describe a model", responses=errors.RESPONSES)
    async def one_model(name: str) -> dict[str, Any]:
        for found in await completions.models():
            if found.id == name:
                return model_answer(found)
        raise ApiError(404, "model_not_found", f"The model `{name}` does not exist", param="model")


def _add_operations(app: FastAPI, engine: Engine, meter: Meter) -> None:
    @app.get("/healthz", summary="Whether the proxy runs", response_class=PlainTextResponse)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/health", summary="Whether the engine answers and is ready", responses=_AWAY)
    @app.get("/readyz", summary="Whether the engine answers and is ready", responses=_AWAY)
    async def health() -> Response:
        found = await _health(engine)
        status = HealthResponse.Status.Name(found.status) if found is not None else "STATUS_AWAY"
        ready = found is not None and found.status == HealthResponse.STATUS_READY
        return JSONResponse({"status": status.removeprefix("STATUS_").lower()}, 200 if ready else 503)

    @app.get("/metrics", summary="Prometheus metrics of the proxy and its engine", response_class=PlainTextResponse)
    async def page() -> Response:
        return PlainTextResponse(meter.page(await _health(engine)))


async def _health(engine: Engine) -> HealthResponse | None:
    """None while the engine does not answer."""
    try:
        return await engine.health()
    except EngineFailed:
        return None
