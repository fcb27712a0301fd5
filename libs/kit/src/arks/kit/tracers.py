"""The tracer of a service, which sends spans to an OpenTelemetry collector (OTLP over HTTP).

Without a collector OpenTelemetry is not imported: 10 MB and 0.3 s.
"""

from typing import Protocol

import structlog

from arks.kit.tracing import NoTracer, Tracer, traces_address

log = structlog.get_logger(__name__)


class Traced(Protocol):
    """Settings of a program that may send spans."""

    @property
    def otlp_endpoint(self) -> str | None: ...


def tracer_of(service: str, settings: Traced) -> Tracer:
    """The tracer of a service. One whose installation lacks OpenTelemetry runs without traces."""
    if not settings.otlp_endpoint:
        return NoTracer()
    try:
        from arks.kit.otlp import OtlpTracer  # noqa: PLC0415  # 10 MB that a service without a collector does not need
    except ImportError as error:
        log.error("no traces: OpenTelemetry cannot be imported", error=str(error))
        return NoTracer()
    return OtlpTracer(service, traces_address(settings.otlp_endpoint))
