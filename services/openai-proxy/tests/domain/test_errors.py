"""gRPC statuses as OpenAI's errors."""

import grpc
import pytest

from arks.engine.v1.ark_pb2 import ErrorDetail
from arks.openai_proxy.domain.errors import from_status

OURS = "the engine's own words"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("INVALID_ARGUMENT", (400, "invalid_request_error", "invalid_value", True)),
        ("FAILED_PRECONDITION", (400, "invalid_request_error", "invalid_value", True)),
        ("OUT_OF_RANGE", (400, "invalid_request_error", "context_length_exceeded", True)),
        ("NOT_FOUND", (404, "invalid_request_error", "model_not_found", True)),
        ("RESOURCE_EXHAUSTED", (429, "rate_limit_error", "engine_overloaded", True)),
        ("UNAUTHENTICATED", (502, "server_error", "engine_error", False)),
        ("PERMISSION_DENIED", (502, "server_error", "engine_error", False)),
        ("UNAVAILABLE", (503, "server_error", "engine_unavailable", False)),
        ("ABORTED", (503, "server_error", "engine_unavailable", False)),
        ("CANCELLED", (503, "server_error", "generation_cancelled", False)),
        ("DEADLINE_EXCEEDED", (504, "server_error", "timeout", False)),
        ("INTERNAL", (502, "server_error", "engine_error", False)),
        ("UNKNOWN", (502, "server_error", "engine_error", False)),
        ("DATA_LOSS", (502, "server_error", "engine_error", False)),
        ("UNIMPLEMENTED", (502, "server_error", "engine_error", False)),
        ("ALREADY_EXISTS", (502, "server_error", "engine_error", False)),
    ],
)
def test_each_status_is_an_error_that_clients_know(status: str, expected: tuple[int, str, str, bool]) -> None:
    """The last column: whether clients read the engine's words, which may name hosts and files if it failed."""
    error = from_status(status, OURS, None)
    assert expected == (error.status, error.type, error.code, OURS in error.message)


def test_every_status_of_grpc_has_an_error() -> None:
    statuses = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    assert all(400 <= from_status(status, "", None).status < 600 for status in statuses)
    assert all(from_status(status, "", None).message for status in statuses)


def test_a_detail_names_code_field_and_message() -> None:
    detail = ErrorDetail(code="c", param="p", message="for the client")
    error = from_status("INVALID_ARGUMENT", OURS, detail)
    assert {
        "error": {"message": "for the client", "type": "invalid_request_error", "param": "p", "code": "c"}
    } == error.body


def test_a_feature_that_the_engine_lacks_is_an_error_of_the_request() -> None:
    error = from_status("UNIMPLEMENTED", "", ErrorDetail(param="logprobs", message="no logprobs"))
    assert (400, "unsupported_parameter", "logprobs") == (error.status, error.code, error.param)


@pytest.mark.parametrize(("status", "headers"), [("UNAVAILABLE", {"retry-after": "1"}), ("INTERNAL", {})])
def test_only_a_temporary_error_names_a_time_to_retry(status: str, headers: dict[str, str]) -> None:
    assert headers == from_status(status, "", None).headers
