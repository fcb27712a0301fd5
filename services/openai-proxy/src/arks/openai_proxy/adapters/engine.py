"""Calls of ARK engines over gRPC; each goes to the engine with the fewest calls in flight."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
from google.protobuf.message import DecodeError

from arks.engine.v1 import ark_pb2 as ark
from arks.kit.hosts import Hosts
from arks.kit.peers import choose
from arks.kit.tasks import cancel
from arks.kit.tracing import NoTracer, Tracer
from arks.openai_proxy.adapters.connection import EngineConnection, EnginePeer
from arks.openai_proxy.domain.health import combined
from arks.openai_proxy.service.ports import EngineFailed

DETAIL_KEY = "ark-error-bin"
SHORT_CALL_SECONDS = 5.0
"""Deadline of calls that never wait for a generation."""
_AWAY = "UNAVAILABLE"


class GrpcEngine:
    def __init__(
        self,
        targets: Sequence[str],
        *,
        timeout_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        tracer: Tracer | None = None,
    ) -> None:
        """`targets`: host:port each, where a name may stand for several engines. All serve the same model.

        `timeout_seconds`: of a whole generation. Connects with the first call.
        """
        self._hosts = Hosts(targets, self._changed)
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._tracer = tracer or NoTracer()
        self._peers: dict[str, EnginePeer] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._hosts.start()

    async def stop(self) -> None:
        await self._hosts.stop()
        for peer in self._peers.values():
            await peer.close()
        for closing in list(self._closing):
            await cancel(closing)

    async def models(self) -> Sequence[ark.Model]:
        with self._connection() as connection:
            answer = await connection.list_models(ark.ListModelsRequest(), timeout=SHORT_CALL_SECONDS)
            return ark.ListModelsResponse.FromString(answer).models

    async def health(self) -> ark.HealthResponse:
        """Of all engines together. Raises EngineFailed if none answers."""
        found = await asyncio.gather(*(_health(peer) for peer in self._peers.values()))
        answers = [answer for answer in found if answer is not None]
        if not answers:
            raise EngineFailed(_AWAY, "no engine answers")
        return combined(answers)

    async def complete(self, generation: ark.Generation) -> ark.CompleteResponse:
        request = ark.CompleteRequest(generation=generation)
        with self._connection() as connection:
            answer = await connection.complete(request, timeout=self._timeout_seconds, metadata=self._metadata())
            return ark.CompleteResponse.FromString(answer)

    async def stream(self, generation: ark.Generation) -> AsyncGenerator[ark.StreamCompleteResponse, None]:
        request = ark.StreamCompleteRequest(generation=generation)
        with self._connection() as connection:
            call = connection.stream_complete(request, timeout=self._timeout_seconds, metadata=self._metadata())
            try:
                async for event in call:
                    yield ark.StreamCompleteResponse.FromString(event)
            finally:
                call.cancel()  # without effect on a call that has ended

    def _metadata(self) -> tuple[tuple[str, str], ...] | None:
        """Continues the trace of the request."""
        return tuple(self._tracer.outgoing().items()) or None

    @contextmanager
    def _connection(self) -> Iterator[EngineConnection]:
        """A connection of the engine that gets the next call. Raises EngineFailed."""
        peers = self._peers.values()
        peer = choose(peers, self._monotonic()) or min(peers, key=lambda each: each.avoided_until, default=None)
        if peer is None:
            raise EngineFailed(_AWAY, "the engine's name has no address")
        try:
            with peer.connection() as connection, _translated():
                yield connection
        except EngineFailed as error:
            if error.status == _AWAY:
                peer.failed(self._monotonic())
            raise
        peer.succeeded()

    def _changed(self, addresses: frozenset[str]) -> None:
        for address in addresses - self._peers.keys():
            self._peers[address] = EnginePeer(address)
        for address in self._peers.keys() - addresses:
            closing = asyncio.ensure_future(self._peers.pop(address).close(self._timeout_seconds))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _health(peer: EnginePeer) -> ark.HealthResponse | None:
    try:
        with peer.connection() as connection, _translated():
            answer = await connection.health(ark.HealthRequest(), timeout=SHORT_CALL_SECONDS)
            return ark.HealthResponse.FromString(answer)
    except EngineFailed:
        return None


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
