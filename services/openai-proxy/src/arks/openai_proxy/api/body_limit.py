"""Rejects bodies that are too long before they are in memory."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arks.openai_proxy.api.errors import answer
from arks.openai_proxy.domain.errors import ApiError

TOO_LONG = 413


class BodyLimit:
    def __init__(self, app: ASGIApp, bytes_limit: int) -> None:
        self._app = app
        self._limit = bytes_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            error = ApiError(TOO_LONG, "request_too_large", f"the body is longer than {self._limit} bytes")
            await answer(error)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            """A body of unknown length. FastAPI turns any other exception of a reader into a 400."""
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise HTTPException(TOO_LONG)
            return message

        await self._app(scope, counted, send)
