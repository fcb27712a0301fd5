"""Every error as OpenAI's, whatever finds it: the router, validation, translation or the engine."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from arks.openai_proxy.api.disconnect import Disconnected
from arks.openai_proxy.domain.errors import SERVER, ApiError, from_status
from arks.openai_proxy.service.ports import EngineFailed

log = structlog.get_logger(__name__)
CLIENT_CLOSED_REQUEST = 499
"""nginx's status for logs and metrics; no client receives it."""


class Problem(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Every answer of 400 or more from /v1."""

    error: Problem


RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "The request: 400, 404 (no such model), 413 (too long), 429 (no room)",
        "model": ErrorAnswer,
    },
    "5XX": {"description": "The engine: 502 (failed), 503 (away), 504 (too slow)", "model": ErrorAnswer},
}
"""For the OpenAPI page, which would have FastAPI's own 422 otherwise."""


def install(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(EngineFailed, _engine_failed)
    app.add_exception_handler(Disconnected, _disconnected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(UnicodeEncodeError, _not_unicode)
    app.add_exception_handler(500, _failed)


def answer(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body, error.status, error.headers)


def engine_error(error: EngineFailed) -> ApiError:
    log.warning("engine call failed", status=error.status, details=error.details)
    return from_status(error.status, error.details, error.detail)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101  # installed for this type only
    return answer(error)


async def _engine_failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, EngineFailed)  # noqa: S101  # installed for this type only
    return answer(engine_error(error))


async def _disconnected(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # installed for this type only
    return answer(_explained(error.errors()[0]))


def _explained(found: Mapping[str, Any]) -> ApiError:
    """The first problem of a body, with the path of its field as OpenAI writes it."""
    path = _path([part for part in found["loc"][1:] if part != "body"])
    if found["type"] == "json_invalid":
        return ApiError(400, "invalid_json", "the body is no valid JSON")
    if not path:
        return ApiError(400, "invalid_body", "the body must be a JSON object, sent as application/json")
    code = "missing_required_parameter" if found["type"] == "missing" else "invalid_value"
    return ApiError(400, code, f"{path}: {found['msg'][:1].lower()}{found['msg'][1:]}", param=path)


def _path(parts: Sequence[str | int]) -> str:
    """`messages[0].content`; without pydantic's names of the alternatives of a union."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in {"str", "int", "float", "bool"} and not part[0].isupper():
            path += f".{part}" if path else part
    return path


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # installed for this type only
    if error.status_code == 404:
        return answer(ApiError(404, "unknown_url", f"no such URL: {request.method} {request.url.path}"))
    if error.status_code == 405:
        error_405 = ApiError(405, "method_not_allowed", f"{request.url.path} does not take {request.method}")
        return JSONResponse(error_405.body, 405, error.headers)  # with Allow
    if error.status_code == 413:
        return answer(ApiError(413, "request_too_large", "the body is too long"))
    return answer(ApiError(error.status_code, "invalid_body", "the body is no valid JSON in UTF-8"))


async def _not_unicode(_: Request, __: Exception) -> Response:
    return answer(ApiError(400, "invalid_value", "the body has a text that is no valid Unicode"))


async def _failed(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return answer(ApiError(500, "internal_error", "the proxy failed; its log has the reason", type_=SERVER))
