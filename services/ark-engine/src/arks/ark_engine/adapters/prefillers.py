"""Prefillers over gRPC."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError

from arks.ark_engine.domain.failures import Failed
from arks.ark_engine.domain.state import Assembly, BrokenState
from arks.ark_engine.service.ports import PrefillFailed
from arks.engine.v1 import ark_pb2 as ark

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
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._address, options=_OPTIONS)

    async def stop(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def prefill(self, generation: ark.Generation) -> ark.HandOver:
        with _translated():
            call = self._opened().unary_unary(
                f"/{SERVICE}/Prefill", request_serializer=ark.PrefillRequest.SerializeToString
            )
            answer = await call(ark.PrefillRequest(generation=generation), timeout=self._timeout_seconds)
            return ark.PrefillResponse.FromString(answer).hand_over

    async def fetch(self, hand_over: ark.HandOver, file: Path) -> None:
        assembly = Assembly(hand_over.state_bytes)
        request = ark.FetchStateRequest(id=hand_over.id)
        call = self._opened().unary_stream(
            f"/{SERVICE}/FetchState", request_serializer=ark.FetchStateRequest.SerializeToString
        )
        with _translated(), file.open("wb") as target:
            if hand_over.location not in {"", self._address}:
                raise BrokenState(f"it is at {hand_over.location}; states are fetched from the prefiller only")
            async for chunk in call(request, timeout=self._timeout_seconds):
                target.write(assembly.add(ark.FetchStateResponse.FromString(chunk)))
            assembly.end()

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise PrefillFailed("the connection is not open")
        return self._channel


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
