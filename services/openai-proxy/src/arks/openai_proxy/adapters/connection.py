"""Connections to the engine at one address.

Several, because one connection's frames are handled one after the other on both sides; a call takes the connection with
the fewest calls in flight. A dead peer is found by keepalive pings within 15 s.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from arks.engine.v1 import ark_pb2 as ark
from arks.kit.peers import Peer

SERVICE = "arks.engine.v1.EngineService"
CONNECTIONS = 4
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


class EngineConnection:
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


class EnginePeer(Peer):
    """The engine at one address."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._connections = [EngineConnection(address) for _ in range(CONNECTIONS)]

    @contextmanager
    def connection(self) -> Iterator[EngineConnection]:
        """A connection for one call."""
        connection = min(self._connections, key=lambda each: each.in_flight)
        self.in_flight += 1
        connection.in_flight += 1
        try:
            yield connection
        finally:
            connection.in_flight -= 1
            self.in_flight -= 1

    async def close(self, grace_seconds: float | None = None) -> None:
        """Calls in flight have `grace_seconds`."""
        await asyncio.gather(*(connection.channel.close(grace_seconds) for connection in self._connections))
