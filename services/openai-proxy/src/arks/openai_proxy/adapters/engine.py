"""Calls of an ARK engine over gRPC.

Several connections, because one connection's frames are handled one after the other on both sides; a call takes the
connection with the fewest calls in flight. A dead peer is found by keepalive pings within 15 s.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from arks.engine.v1 import ark_pb2 as ark
from arks.openai_proxy.service.ports import EngineFailed

SERVICE = "arks.engine.v1.EngineService"
DETAIL_KEY = "ark-error-bin"
CONNECTIONS = 4
SHORT_CALL_SECONDS = 5.0
"""Deadline of calls that never wait for a generation."""
_ANSWER_BYTES_LIMIT = 64 * 1024 * 1024
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", _ANSWER_BYTES_LIMIT),
    ("grpc.enable_retries", 0),
)


class _Connection:
    """Calls return bytes: a message that gRPC cannot parse would be None, or the silent end of a stream."""

    def __init__(self, target: str) -> None:
        self.in_flight = 0
        self.channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self.list_models = self._unary("ListModels")
        self.health = self._unary("Health")
        self.complete = self._unary("Complete")
        self.stream_complete = self.channel.unary_stream(
            f"/{SERVICE}/StreamComplete",
            request_serializer=ark.StreamCompleteRequest.SerializeToString,
        )

    def _unary(self, method: str) -> Callable[..., Any]:
        call: Callable[..., Any] = self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
        )
        return call


class GrpcEngine:
    def __init__(self, target: str, *, timeout_seconds: float) -> None:
        """`target`: host:port; `timeout_seconds`: of a whole generation. Connects with the first call."""
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._connections: list[_Connection] = []

    async def start(self) -> None:
        self._connections = [_Connection(self._target) for _ in range(CONNECTIONS)]

    async def stop(self) -> None:
        for connection in self._connections:
            await connection.channel.close()

    async def models(self) -> Sequence[ark.Model]:
        with self._connection() as connection, _translated():
            answer = await connection.list_models(ark.ListModelsRequest(), timeout=SHORT_CALL_SECONDS)
            return ark.ListModelsResponse.FromString(answer).models

    async def health(self) -> ark.HealthResponse:
        with self._connection() as connection, _translated():
            answer = await connection.health(ark.HealthRequest(), timeout=SHORT_CALL_SECONDS)
            return ark.HealthResponse.FromString(answer)

    async def complete(self, generation: ark.Generation) -> ark.CompleteResponse:
        request = ark.CompleteRequest(generation=generation)
        with self._connection() as connection, _translated():
            answer = await connection.complete(request, timeout=self._timeout_seconds)
            return ark.CompleteResponse.FromString(answer)

    async def stream(self, generation: ark.Generation) -> AsyncGenerator[ark.StreamCompleteResponse, None]:
        request = ark.StreamCompleteRequest(generation=generation)
        with self._connection() as connection, _translated():
            call = connection.stream_complete(request, timeout=self._timeout_seconds)
            try:
                async for event in call:
                    yield ark.StreamCompleteResponse.FromString(event)
            finally:
                call.cancel()  # without effect on a call that has ended

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        connection = min(self._connections, key=lambda each: each.in_flight)
        connection.in_flight += 1
        try:
            yield connection
        finally:
            connection.in_flight -= 1


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of gRPC as EngineFailed."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise EngineFailed(error.code().name, error.details() or "", _detail(error)) from error
    except DecodeError as error:
        raise EngineFailed("INTERNAL", "the engine's answer is no message of the ARK protocol") from error


def _detail(error: grpc.aio.AioRpcError) -> ark.ErrorDetail | None:
    for key, value in error.trailing_metadata() or ():
        if key == DETAIL_KEY and isinstance(value, bytes):
            try:
                return ark.ErrorDetail.FromString(value)
            except DecodeError:
                return None
    return None
