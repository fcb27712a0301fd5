"""Wiring of openai-proxy. The ASGI server is chosen outside: `uvicorn openai_api_server:app`."""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from sse_starlette.sse import AppStatus

from arks.kit.process import freeze_what_is_loaded
from arks.kit.telemetry import configure_logging
from arks.kit.tracers import tracer_of
from arks.openai_proxy.adapters.engine import GrpcEngine
from arks.openai_proxy.adapters.metrics import ProxyMetrics
from arks.openai_proxy.api import app as api
from arks.openai_proxy.config import Settings
from arks.openai_proxy.service.completions import Completions


def build(settings: Settings) -> FastAPI:
    metrics = ProxyMetrics(CollectorRegistry())
    tracer = tracer_of("openai-proxy", settings)
    engine = GrpcEngine(settings.targets, timeout_seconds=settings.request_timeout_seconds, tracer=tracer)

    async def stop() -> None:
        await engine.stop()
        await tracer.close()

    return api.build(
        Completions(engine, on_retry=metrics.retries.inc),
        engine,
        metrics,
        start=engine.start,
        stop=stop,
        tracer=tracer,
        body_bytes_limit=settings.body_bytes_limit,
    )


def application() -> FastAPI:
    """The application of this process, with settings from the environment."""
    settings = Settings()
    configure_logging("openai-proxy", settings.log_level)
    AppStatus.enable_automatic_graceful_drain = False  # a stream ends by itself, or with the server's graceful timeout
    app = build(settings)
    freeze_what_is_loaded()  # visiting it pauses every stream for 13 ms
    return app
