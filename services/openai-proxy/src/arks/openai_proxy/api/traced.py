"""A span for each request, streams until their last byte. Only with a collector."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arks.kit.tracing import TRACEPARENT, Tracer
from arks.openai_proxy.api.measure import PATHS


class Traced:
    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        parent = dict(scope["headers"]).get(TRACEPARENT.encode(), b"").decode("latin-1")
        with self._tracer.span(f"{scope['method']} {scope['path']}", parent=parent or None) as span:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.fail(f"status {message['status']}")
                await send(message)

            await self._app(scope, receive, noting)
