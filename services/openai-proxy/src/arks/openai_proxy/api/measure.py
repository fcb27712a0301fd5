"""Counts and times requests, streams until their last byte."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arks.openai_proxy.api.errors import CLIENT_CLOSED_REQUEST
from arks.openai_proxy.service.ports import Meter

PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/models"})
"""Counted by path; a client's own paths must not become labels."""


class Measure:
    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        status, ended = 500, False

        async def noting(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        began = time.monotonic()
        self._meter.began()
        try:
            await self._app(scope, receive, noting)
        finally:
            early = not ended or status == CLIENT_CLOSED_REQUEST
            self._meter.ended(scope["path"], status, time.monotonic() - began, early=early)
