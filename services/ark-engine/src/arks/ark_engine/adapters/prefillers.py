"""Prefillers over gRPC: those behind the names that a decoder is given."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError

from arks.ark_engine.domain.failures import Failed
from arks.ark_engine.domain.state import Assembly, BrokenState
from arks.ark_engine.service.ports import PrefillerPeer, PrefillFailed
from arks.engine.v1 import ark_pb2 as ark
from arks.kit.hosts import Hosts
from arks.kit.tasks import cancel

SERVICE = "arks.engine.v1.EngineService"
DETAIL_KEY = "ark-error-bin"
_OPTIONS = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
)

_FAULTS_OF_REQUESTS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
"""The decoder would find the same fault: the prefiller has not failed."""


class GrpcPrefiller:
    def __init__(self, address: str, *, timeout_seconds: float) -> None:
        """`timeout_seconds`: of processing a prompt, and again of sending its state."""
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)

    async def stop(self, grace_seconds: float | None = None) -> None:
        """End its calls; those in flight have `grace_seconds`."""
        await self._channel.close(grace_seconds)

    async def prefill(self, generation: ark.Generation) -> ark.HandOver:
        with _translated():
            call = self._channel.unary_unary(
                f"/{SERVICE}/Prefill", request_serializer=ark.PrefillRequest.SerializeToString
            )
            answer = await call(ark.PrefillRequest(generation=generation), timeout=self._timeout_seconds)
            return ark.PrefillResponse.FromString(answer).hand_over

    async def fetch(self, hand_over: ark.HandOver, file: Path) -> None:
        assembly = Assembly(hand_over.state_bytes)
        request = ark.FetchStateRequest(id=hand_over.id)
        call = self._channel.unary_stream(
            f"/{SERVICE}/FetchState", request_serializer=ark.FetchStateRequest.SerializeToString
        )
        with _translated(), file.open("wb") as target:
            if hand_over.location not in {"", self._address}:
                raise BrokenState(f"it is at {hand_over.location}; states are fetched from the prefiller only")
            async for chunk in call(request, timeout=self._timeout_seconds):
                target.write(assembly.add(ark.FetchStateResponse.FromString(chunk)))
            assembly.end()


class Prefillers:
    """`by_address`: the prefillers that exist now. `start` and `stop` it in an event loop."""

    def __init__(self, targets: Sequence[str], *, timeout_seconds: float) -> None:
        """`targets`: host:port of each; a name may stand for several. `timeout_seconds`: as of GrpcPrefiller."""
        self._timeout_seconds = timeout_seconds
        self._hosts = Hosts(targets, self._changed)
        self._open: dict[str, GrpcPrefiller] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.by_address: dict[str, PrefillerPeer] = {}

    async def start(self) -> None:
        await self._hosts.start()

    async def stop(self) -> None:
        await self._hosts.stop()
        for prefiller in self._open.values():
            await prefiller.stop()
        for closing in list(self._closing):
            await cancel(closing)

    def _changed(self, addresses: frozenset[str]) -> None:
        for address in addresses - self._open.keys():
            prefiller = self._open[address] = GrpcPrefiller(address, timeout_seconds=self._timeout_seconds)
            self.by_address[address] = PrefillerPeer(address, prefiller=prefiller)
        for address in self._open.keys() - addresses:
            del self.by_address[address]
            closing = asyncio.ensure_future(self._open.pop(address).stop(self._timeout_seconds))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


def _detail(error: grpc.aio.AioRpcError) -> dict[str, str]:
    for key, value in error.trailing_metadata() or ():
        if key == DETAIL_KEY:
            detail = ark.ErrorDetail.FromString(value)
            return {"code": detail.code, "param": detail.param}
    return {}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() in _FAULTS_OF_REQUESTS:
            raise Failed(error.code().name, error.details() or "", **_detail(error)) from error
        raise PrefillFailed(f"{error.code().name}: {error.details()}") from error
    except (DecodeError, BrokenState) as error:
        raise PrefillFailed(f"its state is broken: {error}") from error
