"""Spans of a service. Without a collector every span is the same empty object."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Protocol

TRACEPARENT = "traceparent"
"""Header of a request with the caller's span (W3C trace context)."""
_TRACES_PATH = "/v1/traces"

Value = str | int | float | bool


class Span(Protocol):
    def set(self, name: str, value: Value) -> None:
        """Add an attribute. Never a key, a prompt or another secret."""

    def fail(self, reason: str) -> None:
        """Mark the span as failed. An exception that leaves the span does that by itself."""


class Tracer(Protocol):
    @property
    def enabled(self) -> bool: ...

    def span(
        self,
        name: str,
        attributes: Mapping[str, Value] | None = None,
        *,
        parent: str | None = None,
        detached: bool = False,
    ) -> AbstractContextManager[Span]:
        """A span around the code below it. `parent`: the header `traceparent` of the request that caused it. Spans
        inside become its children, also those of tasks that begin there; `detached`: they do not."""

    def outgoing(self) -> dict[str, str]:
        """Headers by which another program continues the trace of the span around this call; empty without one."""

    def record(
        self,
        name: str,
        attributes: Mapping[str, Value],
        *,
        began_at: datetime,
        ended_at: datetime,
        failure: str | None = None,
    ) -> None:
        """A span of work that ran elsewhere. `failure`: the reason, if it failed."""

    async def close(self) -> None:
        """Send what is left, for at most two seconds."""


class _NoSpan(AbstractContextManager[Span]):
    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def set(self, name: str, value: Value) -> None:
        return

    def fail(self, reason: str) -> None:
        return


_NO_SPAN = _NoSpan()


class NoTracer:
    enabled = False

    def span(
        self,
        name: str,
        attributes: Mapping[str, Value] | None = None,
        *,
        parent: str | None = None,
        detached: bool = False,
    ) -> AbstractContextManager[Span]:
        return _NO_SPAN

    def outgoing(self) -> dict[str, str]:
        return {}

    def record(
        self,
        name: str,
        attributes: Mapping[str, Value],
        *,
        began_at: datetime,
        ended_at: datetime,
        failure: str | None = None,
    ) -> None:
        return

    async def close(self) -> None:
        return


def traces_address(otlp_endpoint: str) -> str:
    """Where spans are posted, for a collector's base URL or the full address: OTLP/HTTP has the path /v1/traces."""
    base = otlp_endpoint.rstrip("/")
    return base if base.endswith(_TRACES_PATH) else base + _TRACES_PATH
