"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}.

OpenAI's clients raise by status: 400 BadRequestError, 404 NotFoundError, 429 RateLimitError, 5xx InternalServerError.
"""

from dataclasses import dataclass
from typing import Any

from arks.engine.v1.ark_pb2 import ErrorDetail

REQUEST = "invalid_request_error"
SERVER = "server_error"
RATE = "rate_limit_error"


class ApiError(Exception):
    """The whole answer to a request that fails."""

    def __init__(
        self, status: int, code: str | None, message: str, *, type_: str = REQUEST, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.type = type_
        self.param = param

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        return {"retry-after": "1"} if self.status in {429, 503} else {}


@dataclass(frozen=True)
class _Rule:
    status: int
    code: str
    type: str = REQUEST
    message: str = ""
    """Empty: the engine's message, which is for clients. Otherwise the engine's stays in the log."""


_RULES = {
    "INVALID_ARGUMENT": _Rule(400, "invalid_value"),
    "FAILED_PRECONDITION": _Rule(400, "invalid_value"),
    "OUT_OF_RANGE": _Rule(400, "context_length_exceeded"),
    "UNAUTHENTICATED": _Rule(502, "engine_error", SERVER, "the engine does not accept this proxy"),
    "PERMISSION_DENIED": _Rule(502, "engine_error", SERVER, "the engine does not accept this proxy"),
    "NOT_FOUND": _Rule(404, "model_not_found"),
    "RESOURCE_EXHAUSTED": _Rule(429, "engine_overloaded", RATE),
    "UNAVAILABLE": _Rule(503, "engine_unavailable", SERVER, "the engine cannot be reached or is starting"),
    "ABORTED": _Rule(503, "engine_unavailable", SERVER, "the engine ended the request"),
    "CANCELLED": _Rule(503, "generation_cancelled", SERVER, "the engine cancelled the generation"),
    "DEADLINE_EXCEEDED": _Rule(504, "timeout", SERVER, "the engine did not answer in time"),
}
_FAILED = _Rule(502, "engine_error", SERVER, "the engine failed")


def from_status(status: str, details: str, detail: ErrorDetail | None) -> ApiError:
    """A gRPC status as an error for the client. `detail`: the engine's ErrorDetail, None if it sent none."""
    rule = _RULES.get(status, _FAILED)
    if status == "UNIMPLEMENTED" and detail is not None:
        rule = _Rule(400, "unsupported_parameter")
    message = rule.message or (detail.message if detail is not None else "") or details or _FAILED.message
    code = detail.code if detail is not None and detail.code else rule.code
    param = detail.param or None if detail is not None else None
    return ApiError(rule.status, code, message, type_=rule.type, param=param)
