"""What the use cases need of an engine."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from arks.engine.v1.ark_pb2 import (
    CompleteResponse,
    ErrorDetail,
    Generation,
    HealthResponse,
    Model,
    StreamCompleteResponse,
)


class EngineFailed(Exception):
    """A call of the engine failed."""

    def __init__(self, status: str, details: str, detail: ErrorDetail | None = None) -> None:
        """`status`: the name of the gRPC status; `detail`: what the engine sent with it."""
        super().__init__(f"{status}: {details}")
        self.status = status
        self.details = details
        self.detail = detail


class Engine(Protocol):
    """Every method raises EngineFailed. Cancelling a call, or closing its iterator, ends the generation."""

    async def models(self) -> Sequence[Model]: ...

    async def health(self) -> HealthResponse: ...

    async def complete(self, generation: Generation) -> CompleteResponse: ...

    def stream(self, generation: Generation) -> AsyncGenerator[StreamCompleteResponse, None]: ...


class Meter(Protocol):
    """What is counted of requests."""

    def began(self) -> None: ...

    def first_event(self, seconds: float) -> None:
        """The engine's first event of a stream came after this time."""

    def ended(self, path: str, status: int, seconds: float, *, early: bool) -> None:
        """`early`: the client was gone before the end of its answer."""

    def page(self, health: HealthResponse | None) -> bytes:
        """All metrics as Prometheus text. `health`: None while the engine does not answer."""
