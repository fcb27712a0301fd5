"""The gRPC server of aggregated discovery: any number of Envoys, each on its own stream.

Nothing is sent until `open`: after a restart of the router, Envoys keep their configuration until the snapshot is
complete. The end of a stream, or of the router, takes nothing from an Envoy either.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
import structlog
from prometheus_client import CollectorRegistry

from arks.contracts.gateway_token import GATEWAY_TOKEN_HEADER, TokenGate
from arks.endpoint_router.adapters.metrics import XdsMetrics
from arks.endpoint_router.adapters.xds.session import Acknowledged, Outcome, Session
from arks.endpoint_router.adapters.xds.snapshot import TYPES, ConfigSnapshot
from arks.endpoint_router.adapters.xds.wire import FullState, Incremental, Request, Response, Wire
from arks.kit.clock import Clock

log = structlog.get_logger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
STREAMS_LIMIT = 256
REQUEST_BYTES_LIMIT = 64 * 1024 * 1024
"""An Envoy names all its endpoints in its first request, and in each that is no delta: some MB at 10,000 of them."""
STOP_SECONDS = 0.5
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_concurrent_streams", STREAMS_LIMIT),
    ("grpc.max_receive_message_length", REQUEST_BYTES_LIMIT),
)

OnRejected = Callable[[str, str, str, str], None]
"""Called with type, name, node and Envoy's message."""


class XdsServer:
    def __init__(
        self,
        snapshot: ConfigSnapshot,
        address: str,
        *,
        registry: CollectorRegistry,
        clock: Clock,
        on_rejected: OnRejected,
        gate: TokenGate | None = None,
    ) -> None:
        """`address` is host:port, in which port 0 picks a free one, or `unix:` and a path."""
        self._snapshot = snapshot
        self._address = address
        self._clock = clock
        self._on_rejected = on_rejected
        self._gate = gate or TokenGate()
        self._sessions: set[Session[Any, Any]] = set()
        self._metrics = XdsMetrics(registry, lambda: float(len(self._sessions)), self._oldest_pending_seconds)
        for type_ in TYPES:  # a series that begins at 1 shows no increase
            self._metrics.rejections.labels(_short(type_))
        self._opened = asyncio.Event()
        self._closing = asyncio.Event()
        self._streams: set[asyncio.Task[None]] = set()
        self._server: grpc.aio.Server | None = None

    @property
    def streams(self) -> int:
        return len(self._sessions)

    @property
    def settled(self) -> bool:
        """Whether every connected Envoy has acknowledged everything."""
        return all(session.idle for session in self._sessions)

    async def start(self) -> int:
        """Listen. Returns the port; 1 for a Unix socket. Raises OSError if the address is in use."""
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=STREAMS_LIMIT)
        methods = {wire.method: self._handler(wire) for wire in (FullState(), Incremental())}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
        try:
            port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise OSError(f"cannot listen for Envoy on {self._address}: {error}") from error
        await self._server.start()
        log.info("discovery server listens", address=self._address, port=port)
        return int(port)

    def open(self) -> None:
        """Begin to send: the snapshot is complete."""
        self._opened.set()

    async def stop(self) -> None:
        """End every stream, between two responses; then stop the server."""
        self._closing.set()
        if self._streams:
            await asyncio.wait(self._streams, timeout=STOP_SECONDS)
        if self._server is not None:
            await self._server.stop(grace=STOP_SECONDS)
            self._server = None

    def _handler(self, wire: Wire[Request, Response]) -> "grpc.RpcMethodHandler[Request, Response]":
        return grpc.stream_stream_rpc_method_handler(
            partial(self._stream, wire),
            request_deserializer=wire.request.FromString,
            response_serializer=wire.response.SerializeToString,
        )

    async def _stream(
        self,
        wire: Wire[Request, Response],
        requests: AsyncIterator[Request],
        context: "grpc.aio.ServicerContext[Request, Response]",
    ) -> None:
        """Serve one Envoy's stream until either side closes it."""
        metadata = dict(context.invocation_metadata() or ())
        if not self._gate.accepts(metadata.get(GATEWAY_TOKEN_HEADER)):
            log.warning("discovery refused: no valid token", peer=context.peer())
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is needed")
        task = asyncio.current_task()
        if task is not None:
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        session, wake = Session(self._snapshot, wire), asyncio.Event()

        def changed(type_: str, name: str) -> None:
            session.changed(type_, name)
            wake.set()

        unsubscribe = self._snapshot.subscribe(changed)
        self._sessions.add(session)
        parts: set[asyncio.Task[object]] = {
            asyncio.create_task(self._closing.wait(), name="discovery closing"),
            asyncio.create_task(self._receive(session, wake, requests), name="discovery receiver"),
            asyncio.create_task(self._send(session, wake, context), name="discovery sender"),
        }
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:  # nothing may wait before what is forgotten: gRPC can cancel twice
            self._sessions.discard(session)
            self._snapshot.forget(session)
            unsubscribe()
            log.info("Envoy disconnected", node=session.node)
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _receive(
        self, session: Session[Request, Response], wake: asyncio.Event, requests: AsyncIterator[Request]
    ) -> None:
        async for request in requests:
            if request.node.id and not session.node:
                log.info("Envoy connected", node=request.node.id)
            self._handle(session, session.receive(request))
            if not session.idle:
                wake.set()

    async def _send(
        self,
        session: Session[Request, Response],
        wake: asyncio.Event,
        context: "grpc.aio.ServicerContext[Request, Response]",
    ) -> None:
        await self._opened.wait()
        try:
            while True:
                await wake.wait()
                wake.clear()
                for response in session.responses(self._clock.monotonic()):
                    self._metrics.responses.labels(_short(response.type_url)).inc()
                    await context.write(response)
        except grpc.RpcError as error:  # the stream ended during the write; `_receive` ends too
            log.info("response not sent", node=session.node, error=str(error))

    def _handle(self, session: Session[Any, Any], outcome: Outcome | None) -> None:
        if outcome is None:
            return
        type_ = outcome.type_url
        if isinstance(outcome, Acknowledged):
            if outcome.sent.revisions:
                seconds = self._clock.monotonic() - outcome.sent.oldest_change
                self._metrics.update_seconds.labels(_short(type_)).observe(seconds)
            return
        self._metrics.rejections.labels(_short(type_)).inc()
        log.error(
            "Envoy rejected configuration; it keeps the last accepted one",
            node=session.node,
            type=_short(type_),
            resources=outcome.names[:16],
            message=outcome.message,
        )
        for name in outcome.names:
            self._on_rejected(type_, name, session.node, outcome.message)

    def _oldest_pending_seconds(self) -> float:
        pending = [at for session in self._sessions if (at := session.oldest_pending()) is not None]
        return self._clock.monotonic() - min(pending) if pending else 0.0


def _short(type_url: str) -> str:
    return type_url.rsplit(".", 1)[-1]
