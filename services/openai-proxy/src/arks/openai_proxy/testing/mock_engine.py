"""A real gRPC server that speaks the ARK protocol without a model: for tests of connections, and for measurements."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from arks.engine.v1 import ark_pb2 as ark
from arks.openai_proxy.adapters.connection import SERVICE
from arks.openai_proxy.adapters.engine import DETAIL_KEY

MODEL = "mock"


@dataclass
class MockEngine:
    """Answers with `tokens` times the same word, but for the models that are named after a fault.

    `full`, `absent`, `long` and `unsupported` answer with errors; `garbage` with bytes that are no message, `breaks` so
    after its first event; `silent` never answers, `slow` not after its first event.
    """

    tokens: int = 20
    interval_seconds: float = 0.0
    """Between two events of a stream."""
    stamps: bool = False
    """Each word of a stream is the time.perf_counter() at which it was sent."""
    gate: asyncio.Event | None = None
    """Generations wait for it before their first event."""
    running: int = 0
    calls: int = 0
    ended_early: int = 0
    peers: set[str] = field(default_factory=set)

    async def list_models(self, _: Any, __: Any) -> bytes:
        return ark.ListModelsResponse(models=[ark.Model(id=MODEL)]).SerializeToString()

    async def health(self, _: Any, __: Any) -> bytes:
        return ark.HealthResponse(status=ark.HealthResponse.STATUS_READY, running=self.running).SerializeToString()

    async def complete(self, request: ark.CompleteRequest, context: Any) -> bytes:
        events = [event async for event in self._events(request.generation, context)]
        if b"\xff" in events:
            return b"\xff"
        choice = ark.Choice(text="word " * self.tokens, finish_reason=ark.FINISH_REASON_STOP)
        usage = ark.Usage(prompt_tokens=1, completion_tokens=self.tokens)
        return ark.CompleteResponse(choices=[choice], usage=usage).SerializeToString()

    async def stream(self, request: ark.StreamCompleteRequest, context: Any) -> AsyncIterator[bytes]:
        async for event in self._events(request.generation, context):
            yield event

    async def _events(self, generation: ark.Generation, context: Any) -> AsyncGenerator[bytes, None]:
        self.calls += 1
        self.peers.add(context.peer())
        self.running += 1
        try:
            await _refuse(generation.model, context)
            if self.gate is not None:
                await self.gate.wait()
            for number in range(self.tokens):
                if self.interval_seconds:
                    await asyncio.sleep(self.interval_seconds)
                if generation.model == "silent" or (generation.model == "slow" and number):
                    await asyncio.Event().wait()
                broken = generation.model == "garbage" or (generation.model == "breaks" and number)
                yield b"\xff" if broken else _word(f"{time.perf_counter():.6f}") if self.stamps else _WORD
            yield _END
            yield ark.StreamCompleteResponse(
                finish=ark.StreamEnd(usage=ark.Usage(prompt_tokens=1, completion_tokens=self.tokens))
            ).SerializeToString()
        except (asyncio.CancelledError, GeneratorExit):
            self.ended_early += 1
            raise
        finally:
            self.running -= 1


def _word(text: str) -> bytes:
    return ark.StreamCompleteResponse(delta=ark.Delta(text=text)).SerializeToString()


_WORD = _word("word ")
_END = ark.StreamCompleteResponse(end=ark.ChoiceEnd(finish_reason=ark.FINISH_REASON_STOP)).SerializeToString()


_REFUSALS = {
    "full": (grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot is free"),
    "absent": (grpc.StatusCode.NOT_FOUND, "there is no such model"),
    "long": (grpc.StatusCode.OUT_OF_RANGE, "the prompt is too long"),
}


async def _refuse(model: str, context: Any) -> None:
    if model in _REFUSALS:
        await context.abort(*_REFUSALS[model])
    if model == "unsupported":
        detail = ark.ErrorDetail(code="no_logprobs", param="logprobs", message="this engine has no logprobs")
        trailer = ((DETAIL_KEY, detail.SerializeToString()),)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no", trailing_metadata=trailer)


def handlers(engine: MockEngine) -> grpc.GenericRpcHandler:
    unary: Callable[..., Any] = grpc.unary_unary_rpc_method_handler
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "ListModels": unary(engine.list_models),
            "Health": unary(engine.health),
            "Complete": unary(engine.complete, request_deserializer=ark.CompleteRequest.FromString),
            "StreamComplete": grpc.unary_stream_rpc_method_handler(
                engine.stream, request_deserializer=ark.StreamCompleteRequest.FromString
            ),
        },
    )


@asynccontextmanager
async def serving(engine: MockEngine, port: int = 0) -> AsyncIterator[int]:
    """Serve the engine on loopback; yields the port."""
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 5_000)]
    )
    server.add_generic_rpc_handlers((handlers(engine),))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(grace=None)
