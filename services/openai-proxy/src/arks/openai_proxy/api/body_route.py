"""Routes whose only argument is a body of JSON, parsed and checked in one step.

FastAPI parses JSON into Python objects, solves dependencies and checks the objects then, which costs twice as much as
the rest of a short request. The OpenAPI page is FastAPI's, from the endpoint's signature.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response


class BodyRoute(APIRoute):
    """For endpoints `(body: Model, request: Request) -> Response`. Raises RequestValidationError as FastAPI does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint
        parse = TypeAdapter(endpoint.__annotations__["body"]).validate_json

        async def handle(request: Request) -> Response:
            try:
                body = parse(await request.body())
            except ValidationError as error:
                found = error.errors(include_url=False, include_context=False)
                raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error
            response: Response = await endpoint(body, request)
            return response

        return handle
