"""The tracer that sends spans: OpenTelemetry's SDK, in batches from a thread of its own. See `tracing`."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from arks.kit.tracing import TRACEPARENT, Span, Value

_SEND_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
"""Less than the time a service has to end."""
_WAITING_SPANS = 2048
"""Spans that wait for the collector; beyond it new ones are dropped."""


class _OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        self._span.set_status(trace.StatusCode.ERROR, reason)


class OtlpTracer:
    enabled = True

    def __init__(self, service: str, address: str, send_seconds: float = _SEND_SECONDS) -> None:
        """`address`: with the path /v1/traces."""
        names = {"service.name": f"arks-{service}", "service.instance.id": socket.gethostname()}
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON), resource=Resource.create(names), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=address, timeout=send_seconds)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_WAITING_SPANS))
        self._tracer = self._provider.get_tracer("arks")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Value] | None = None,
        *,
        parent: str | None = None,
        detached: bool = False,
    ) -> Iterator[Span]:
        context = self._propagator.extract({TRACEPARENT: parent}) if parent else None
        kind = trace.SpanKind.SERVER if parent else trace.SpanKind.INTERNAL
        started = self._tracer.start_span(name, context, kind, attributes)
        with started if detached else trace.use_span(started, end_on_exit=True):
            yield _OtlpSpan(started)

    def outgoing(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        self._propagator.inject(headers)
        return headers

    def record(
        self,
        name: str,
        attributes: Mapping[str, Value],
        *,
        began_at: datetime,
        ended_at: datetime,
        failure: str | None = None,
    ) -> None:
        span = self._tracer.start_span(name, attributes=attributes, start_time=_nanoseconds(began_at))
        if failure is not None:
            span.set_status(trace.StatusCode.ERROR, failure)
        span.end(_nanoseconds(ended_at))

    async def close(self) -> None:
        """In a daemon thread: a collector that does not answer must not hold the end of the process."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closed.wait()
        except TimeoutError:
            return


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1e9)
