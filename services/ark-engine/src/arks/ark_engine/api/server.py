"""The gRPC server. Calls that need the model fail with UNAVAILABLE until it is loaded."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing
from typing import Any, NoReturn

import grpc
import structlog

from arks.ark_engine.domain import state
from arks.ark_engine.domain.answer import whole
from arks.ark_engine.domain.failures import Failed
from arks.ark_engine.service.engine import Engine
from arks.ark_engine.service.kept_states import KeptStates
from arks.engine.v1 import ark_pb2 as ark
from arks.kit.tracing import TRACEPARENT, NoTracer, Span, Tracer

log = structlog.get_logger(__name__)
SERVICE = "arks.engine.v1.EngineService"
DETAIL_KEY = "ark-error-bin"
STREAMS_LIMIT = 4096
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


class EngineServer:
    def __init__(
        self,
        engine: Engine,
        states: KeptStates,
        *,
        health: Callable[[], ark.HealthResponse],
        model: ark.Model,
        tracer: Tracer | None = None,
    ) -> None:
        self._engine = engine
        self._states = states
        self._health = health
        self._model = model
        self._tracer = tracer or NoTracer()
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str) -> int:
        """Listen on host:port; returns the port. Raises OSError if it is in use."""
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=STREAMS_LIMIT)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._methods()),))
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"the engine cannot listen on {address}: {error}") from error
        await self._server.start()
        return int(port)

    async def stop(self, grace_seconds: float) -> None:
        """Running calls may end within the time."""
        if self._server is not None:
            await self._server.stop(grace_seconds)

    def _methods(self) -> dict[str, Any]:
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        return {
            "ListModels": _method(unary, self._list_models, ark.ListModelsRequest),
            "Complete": _method(unary, self._complete, ark.CompleteRequest),
            "StreamComplete": _method(stream, self._stream_complete, ark.StreamCompleteRequest),
            "Cancel": _method(unary, self._cancel, ark.CancelRequest),
            "Health": _method(unary, self._answer_health, ark.HealthRequest),
            "Prefill": _method(unary, self._prefill, ark.PrefillRequest),
            "FetchState": _method(stream, self._fetch_state, ark.FetchStateRequest),
        }

    async def _list_models(self, _: ark.ListModelsRequest, __: Any) -> ark.ListModelsResponse:
        return ark.ListModelsResponse(models=[self._model])

    async def _answer_health(self, _: ark.HealthRequest, __: Any) -> ark.HealthResponse:
        return self._health()

    async def _complete(self, request: ark.CompleteRequest, context: Any) -> ark.CompleteResponse:
        events = []
        async for event in self._events(request.generation, context):
            events.append(event)  # noqa: PERF401  # a comprehension would not close the generator
        return whole(events, request.generation.choices or 1)

    async def _stream_complete(
        self, request: ark.StreamCompleteRequest, context: Any
    ) -> AsyncIterator[ark.StreamCompleteResponse]:
        async for event in self._events(request.generation, context):
            yield event

    async def _events(self, generation: ark.Generation, context: Any) -> AsyncIterator[ark.StreamCompleteResponse]:
        with self._span("generate", generation, context) as span:
            try:
                await self._loaded()
                async with aclosing(self._engine.stream(generation)) as events:
                    async for event in events:
                        if event.HasField("finish"):
                            span.set("gen_ai.usage.input_tokens", event.finish.usage.prompt_tokens)
                            span.set("gen_ai.usage.output_tokens", event.finish.usage.completion_tokens)
                        yield event
            except Failed as error:
                span.fail(error.status)
                await _abort(context, error)

    def _span(self, name: str, generation: ark.Generation, context: Any) -> AbstractContextManager[Span]:
        """Of the caller's trace. Without children: the generator of a call may be closed elsewhere than it began."""
        found = {key: value for key, value in context.invocation_metadata() or () if key == TRACEPARENT}
        attributes = {"gen_ai.request.model": generation.model}
        return self._tracer.span(name, attributes, parent=found.get(TRACEPARENT), detached=True)

    async def _cancel(self, request: ark.CancelRequest, _: Any) -> ark.CancelResponse:
        return ark.CancelResponse(found=self._engine.cancel(request.id))

    async def _prefill(self, request: ark.PrefillRequest, context: Any) -> ark.PrefillResponse:
        with self._span("prefill", request.generation, context) as span:
            try:
                await self._loaded()
                return ark.PrefillResponse(hand_over=await self._engine.prefill(request.generation))
            except Failed as error:
                span.fail(error.status)
                await _abort(context, error)

    async def _fetch_state(self, request: ark.FetchStateRequest, context: Any) -> AsyncIterator[ark.FetchStateResponse]:
        try:
            with self._states.taken(request.id) as file:
                for chunk in state.chunks(file):
                    yield chunk
        except Failed as error:
            await _abort(context, error)

    async def _loaded(self) -> None:
        if self._health().status == ark.HealthResponse.STATUS_LOADING:
            raise Failed("UNAVAILABLE", "the model is loading")


def _method(kind: Callable[..., Any], handler: Any, request: Any) -> Any:
    return kind(
        handler, request_deserializer=request.FromString, response_serializer=lambda sent: sent.SerializeToString()
    )


async def _abort(context: Any, error: Failed) -> NoReturn:
    """End the call with the error's status. gRPC raises from `abort`."""
    detail = ark.ErrorDetail(code=error.code, param=error.param, message=error.message)
    status = getattr(grpc.StatusCode, error.status)
    log.info("call failed", status=error.status, message=error.message)
    await context.abort(status, error.message, trailing_metadata=((DETAIL_KEY, detail.SerializeToString()),))
    raise AssertionError("abort returned")
