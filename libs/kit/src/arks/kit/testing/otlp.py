"""A collector of traces: an HTTP server that decodes what OTLP exporters send."""

import gzip
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from arks.kit.testing.wait import eventually
from arks.kit.testing.web import serving


@dataclass(frozen=True)
class ReceivedSpan:
    service: str
    name: str
    trace_id: str
    """32 hexadecimal digits, as in `traceparent`."""
    span_id: str
    parent_id: str
    """Empty for the first span of a trace."""
    failed: bool
    seconds: float
    attributes: dict[str, str | int | float | bool]


@dataclass
class Collector:
    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        export = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        self.spans += _spans(export)
        return web.Response(content_type="application/x-protobuf")

    async def span(self, service: str, name: str, trace_id: str = "") -> ReceivedSpan:
        """The first span of this service and name (and trace), once it has arrived."""

        def found() -> list[ReceivedSpan]:
            named = [span for span in self.spans if (span.service, span.name) == (service, name)]
            return [span for span in named if trace_id in {"", span.trace_id}]

        return (await eventually(found, what=f"a span {name} of {service}"))[0]


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """A collector on a free port of loopback."""
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.receive)
    async with serving(app) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


def _spans(export: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            str(_values(resource.resource.attributes).get("service.name", "")),
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.status.code == span.status.STATUS_CODE_ERROR,
            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            _values(span.attributes),
        )
        for resource in export.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Iterable[KeyValue]) -> dict[str, str | int | float | bool]:
    values: dict[str, str | int | float | bool] = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        values[attribute.key] = getattr(attribute.value, kind) if kind else ""
    return values
