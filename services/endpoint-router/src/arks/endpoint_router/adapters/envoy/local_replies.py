"""Build Envoy's own error answers in OpenAI's envelope, so that OpenAI's clients raise their typed exceptions."""

import json
from dataclasses import dataclass
from typing import Any

from arks.endpoint_router.domain.native import METADATA, RETRY_AFTER

ANSWERED_HEADER = "x-arks-answered"
"""Request header that the filter sets on a request that it answers itself; such an answer is not rewritten."""
RETRY_AFTER_SECONDS = 1
"""For a 503: replicas recover, or other replicas take over, within seconds."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    type: str
    code: str
    message: str


NO_PATH = "There is no such path; there are /v1/chat/completions, /v1/completions, /v1/embeddings and /v1/models."
REPLIES = (
    Reply(400, "invalid_request_error", "bad_request", "The request is not valid HTTP, or its method is unknown here."),
    Reply(403, "invalid_request_error", "forbidden", "This is not allowed here."),
    Reply(404, "invalid_request_error", "not_found", NO_PATH),
    Reply(405, "invalid_request_error", "method_not_allowed", "This path does not take this method."),
    Reply(408, "invalid_request_error", "request_timeout", "The request did not arrive in time."),
    Reply(413, "invalid_request_error", "request_too_large", "The request body is too large."),
    Reply(426, "invalid_request_error", "upgrade_required", "Use HTTP/1.1 or HTTP/2."),
    Reply(431, "invalid_request_error", "headers_too_large", "The request headers are too large."),
    Reply(502, "server_error", "bad_gateway", "The model's answer was not valid."),
    Reply(503, "server_error", "service_unavailable", "No replica of this model can answer now. Try again."),
    Reply(504, "server_error", "timeout", "The model did not answer in time."),
)
FULL = Reply(
    503, "server_error", "overloaded", "Too many requests wait for this model. Try again after the time in Retry-After."
)
OTHER = Reply(500, "server_error", "internal_error", "The gateway could not answer this request.")


def local_replies() -> dict[str, Any]:
    """Return a LocalReplyConfig. The first matching mapper counts; the last matches any error. All keep the status."""
    answered = {"filter": {"header_filter": {"header": {"name": ANSWERED_HEADER, "present_match": True}}}}
    mappers = [_mapper(reply, _compare("EQ", reply.status)) for reply in REPLIES]
    return {"mappers": [answered, _full(), *mappers, _mapper(OTHER, _compare("GE", 400))]}


def _mapper(reply: Reply, condition: dict[str, Any]) -> dict[str, Any]:
    error = {"message": reply.message, "type": reply.type, "param": None, "code": reply.code}
    return {
        "filter": condition,
        "body_format_override": {
            "text_format_source": {"inline_string": json.dumps({"error": error}, separators=(",", ":"))},
            "content_type": "application/json",
        },
        **({"headers_to_add": [_retry_after(str(RETRY_AFTER_SECONDS))]} if reply.status == 503 else {}),
    }


def _full() -> dict[str, Any]:
    """Return the answer to a request beyond the limits of its endpoint, with the time that endpoint-router has given
    the replicas. Envoy omits a header without a value.
    """
    mapper = _mapper(FULL, {"response_flag_filter": {"flags": ["UO"]}})
    mapper["headers_to_add"].append(_retry_after(f"%METADATA(UPSTREAM_HOST:{METADATA}:{RETRY_AFTER})%"))
    return mapper


def _retry_after(value: str) -> dict[str, Any]:
    return {"header": {"key": "retry-after", "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _compare(operator: str, status: int) -> dict[str, Any]:
    value = {"default_value": status, "runtime_key": f"arks.local_reply_{status}"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}
