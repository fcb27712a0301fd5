"""openai-proxy and ark-engine send spans of one trace to a real OTLP receiver; llama.cpp is scripted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from arks.ark_engine.api.server import EngineServer
from arks.ark_engine.service.engine import Engine
from arks.ark_engine.service.kept_states import KeptStates
from arks.ark_engine.service.prompts import Prompts
from arks.ark_engine.service.slot_queue import SlotQueue
from arks.ark_engine.testing.fake_llama import FINGERPRINT, FakeLlama
from arks.engine.v1.ark_pb2 import HealthResponse, Model
from arks.kit.clock import SystemClock
from arks.kit.testing.otlp import Collector, collector
from arks.kit.tracers import tracer_of
from arks.openai_proxy.config import Settings
from arks.openai_proxy.main import build

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
SECRET = "the client's own words"


@asynccontextmanager
async def engine(directory: Path, endpoint: str | None) -> AsyncIterator[int]:
    """The engine's gRPC server; yields its port."""
    clock, llama = SystemClock(), FakeLlama(directory)
    tracer = tracer_of("ark-engine", Settings(otlp_endpoint=endpoint))
    states = KeptStates(directory, clock)
    prompts = Prompts(llama, {}, directory=directory, fingerprint=FINGERPRINT)
    made = Engine(llama, SlotQueue(2, 4), prompts, states, model="m", fingerprint=FINGERPRINT, clock=clock)
    ready = HealthResponse(status=HealthResponse.STATUS_READY)
    server = EngineServer(made, states, health=lambda: ready, model=Model(id="m"), tracer=tracer)
    yield await server.start("127.0.0.1:0")
    await server.stop(0)
    await tracer.close()


@asynccontextmanager
async def proxy(directory: Path, endpoint: str | None) -> AsyncIterator[httpx.AsyncClient]:
    async with engine(directory, endpoint) as port:
        settings = Settings.model_validate(
            {"HTTP_FORWARD_GRPC_HOST": "127.0.0.1", "HTTP_FORWARD_GRPC_PORT": port, "otlp_endpoint": endpoint}
        )
        app = build(settings)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://proxy") as client,
        ):
            yield client


async def complete(client: httpx.AsyncClient, *, stream: bool = False, model: str = "m") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": SECRET}], "stream": stream}
    return await client.post("/v1/chat/completions", json=body, headers=PARENT)


async def checked(received: Collector) -> None:
    request = await received.span("arks-openai-proxy", "POST /v1/chat/completions", TRACE)
    generated = await received.span("arks-ark-engine", "generate", TRACE)
    assert ("00f067aa0ba902b7", request.span_id) == (request.parent_id, generated.parent_id)
    assert 200 == request.attributes["http.response.status_code"]
    names = ("request.model", "usage.input_tokens", "usage.output_tokens")
    assert ("m", 7, 2) == tuple(generated.attributes[f"gen_ai.{name}"] for name in names)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_one_trace_from_the_client_to_the_engine(stream: bool, tmp_path: Path) -> None:
    async with collector() as received:
        async with proxy(tmp_path, received.url) as client:
            assert 200 == (await complete(client, stream=stream)).status_code
        await checked(received)
        assert SECRET not in str(received.spans)


async def test_a_refused_generation_is_a_failed_span(tmp_path: Path) -> None:
    async with collector() as received:
        async with proxy(tmp_path, received.url) as client:
            assert 404 == (await complete(client, model="other")).status_code
        assert (await received.span("arks-ark-engine", "generate", TRACE)).failed
        assert not (await received.span("arks-openai-proxy", "POST /v1/chat/completions", TRACE)).failed


async def test_without_a_collector_nothing_is_traced(tmp_path: Path) -> None:
    async with proxy(tmp_path, None) as client:
        assert 200 == (await complete(client)).status_code
