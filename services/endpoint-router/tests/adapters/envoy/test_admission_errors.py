"""Engines' errors in OpenAI's shape. The texts are those of the engines."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.native import call

Shaped = tuple[int, dict[str, Any]]


def shaped(status: int, text: str, path: str = "/v1/chat/completions") -> Shaped | None:
    answer = call("openai_error", b"%d" % status, text.encode(), path.encode())
    if not answer:
        return None
    new_status, body = (member or b"" for member in answer)
    error = json.loads(body)["error"]
    assert ["message", "type", "param", "code"] == list(error)
    return int(new_status), error


def llamacpp(status: int, message: str, kind: str = "invalid_request_error", **more: Any) -> tuple[int, str]:
    return status, json.dumps({"error": {"code": status, "message": message, "type": kind, **more}})


def vllm(status: int, message: str, kind: str = "BadRequestError") -> tuple[int, str]:
    return status, json.dumps({"error": {"message": message, "type": kind, "param": None, "code": status}})


def dynamo(status: int, message: str) -> tuple[int, str]:
    return status, json.dumps({"message": message, "type": "Bad Request", "code": status})


def flat(status: int, message: str) -> tuple[int, str]:
    """SGLang, and vLLM before 0.10."""
    page = {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": status}
    return status, json.dumps(page)


SIZE = llamacpp(400, "request (9 tokens) exceeds the available context size (5 tokens), try increasing it",
                "exceed_context_size_error", n_prompt_tokens=9, n_ctx=5)  # fmt: skip
FAULTS = {
    "llama.cpp, too long": (SIZE, "context_length_exceeded"),
    "llama.cpp, too long for a batch": (
        llamacpp(500, "input (1501 tokens) is too large to process. increase the physical batch size", "server_error"),
        "context_length_exceeded",
    ),
    "vLLM, too long": (
        vllm(400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."),
        "context_length_exceeded",
    ),
    "SGLang, too long": (
        flat(400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
        "context_length_exceeded",
    ),
    "llama.cpp, a picture": (
        llamacpp(500, "image input is not supported - hint: you may need to provide the mmproj", "server_error"),
        "unsupported_content",
    ),
    "vLLM, a picture": (vllm(400, "test is not a multimodal model"), "unsupported_content"),
    "llama.cpp, embeddings": (
        llamacpp(501, "This server does not support embeddings. Start it with `--embeddings`", "not_supported_error"),
        "unsupported_operation",
    ),
    "vLLM, embeddings": (vllm(400, "The model does not support Embeddings API"), "unsupported_operation"),
    "FastAPI, an unknown path": ((404, '{"detail":"Not Found"}'), "unsupported_operation"),
    "SGLang, a picture": (
        flat(400, "Model only supports text input; received unsupported content type 'image_url'."),
        "unsupported_content",
    ),
    "SGLang, embeddings": (
        flat(400, "This model does not appear to be an embedding model by default. Please add `--is-embedding`"),
        "unsupported_operation",
    ),
    "Dynamo, an unknown path": (dynamo(404, "Route not found: POST /v1/nothing"), "unsupported_operation"),
    "llama.cpp, tools that are none": (llamacpp(500, "Failed to parse tools: got 3", "server_error"), None),
    "llama.cpp, a grammar and a schema": (
        llamacpp(500, "Cannot use both json_schema and grammar", "server_error"),
        None,
    ),
    "llama.cpp, a grammar and tools": (
        llamacpp(500, "Cannot use custom grammar constraints with tools.", "server_error"),
        None,
    ),
    "llama.cpp, an unknown format of reasoning": (llamacpp(500, "Unknown reasoning format: x", "server_error"), None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_client_is_400_with_openais_code(name: str) -> None:
    (status, text), code = FAULTS[name]
    answer = shaped(status, text)
    assert answer is not None
    assert (400, "invalid_request_error", code) == (answer[0], answer[1]["type"], answer[1]["code"])
    assert not any(word in answer[1]["message"] for word in ("--", "mmproj", "batch"))


def test_the_length_of_the_context_is_named_where_the_engine_does() -> None:
    assert shaped(*SIZE) == (
        400,
        {
            "message": "This model's maximum context length is 5 tokens, and the request has 9.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
    )


@pytest.mark.parametrize(
    ("path", "param"),
    [("/v1/chat/completions", "messages"), ("/v1/completions", "prompt"), ("/v1/embeddings", "input")],
)
def test_a_prompt_that_is_too_long_is_named_as_the_request_names_it(path: str, param: str) -> None:
    """Whatever the engine calls it: vLLM writes `input_tokens`."""
    for status, text in (SIZE, vllm(400, "This model's maximum context length is 9 tokens. (parameter=input_tokens)")):
        answer = shaped(status, text, path)
        assert answer is not None
        assert param == answer[1]["param"]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 9. This model's maximum context length is 5",
            "max_tokens",
        ),
        ("max_completion_tokens is too large: 9. The maximum context length is 5", "max_completion_tokens"),
    ],
)
def test_an_answer_that_would_be_too_long_is_named_by_its_parameter(message: str, param: str) -> None:
    answer = shaped(*vllm(400, message))
    assert answer is not None
    assert (param, "context_length_exceeded") == (answer[1]["param"], answer[1]["code"])


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("temperature must be non-negative, got -1.0.", "temperature"),
        ("Field 'n': Value must be between 1 <= value <= 4, but got 5", "n"),
        ("'messages' is required", "messages"),
        ('"prompt" must not be empty', "prompt"),
        ("Invalid tool_choice: sometimes", "tool_choice"),
        ("logit_bias must has keys in [0, 1279], got 999999.", "logit_bias"),
        ("max_completion_tokens is too large: 100000.", "max_completion_tokens"),
        ("JSON schema error at #/properties/a: unrecognized type nope", None),
    ],
)
def test_a_message_about_the_request_passes_with_the_parameters_name(message: str, param: str | None) -> None:
    expected = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    assert shaped(*llamacpp(400, message)) == (400, expected)


def test_of_sglangs_text_about_a_schema_the_reason_passes() -> None:
    text = 'Failed to compile json grammar: [00:00:00] /project/cpp/converter.cc:4175: Unsupported type "nope"\n'
    message = 'Unsupported type "nope"'
    expected = {"message": message, "type": "invalid_request_error", "param": "response_format", "code": None}
    assert shaped(*flat(400, text)) == (400, expected)


@pytest.mark.parametrize(
    ("before", "reason", "after", "param"),
    [
        ("Validation: ", "Max tokens must be greater than 0, got 0", "", "max_tokens"),
        ("Validation: ", "n must be between 1 and 128, got 0", "", "n"),
        ("Validation: ", 'tool_choice is "required" but tools is empty', "", "tool_choice"),
        ("Validation: ", "Prompt string cannot be empty", "", None),
        (
            "Failed to deserialize the JSON body into the target type: ",
            "missing field `role`",
            " at line 1 column 49",
            None,
        ),
    ],
)
def test_of_dynamos_text_the_reason_passes(before: str, reason: str, after: str, param: str | None) -> None:
    expected = {"message": reason, "type": "invalid_request_error", "param": param, "code": None}
    assert shaped(*dynamo(400, before + reason + after)) == (400, expected)


@pytest.mark.parametrize(
    ("faults", "message", "param"),
    [
        ("{'type': 'a', 'loc': 'body.n', 'msg': 'Not a number', 'input': 'x'}", "Invalid 'n': Not a number.", "n"),
        ("{'type': 'a', 'loc': ('body', 'n'), 'msg': 'Not a number'}", "Invalid 'n': Not a number.", "n"),
        (
            "{'loc': ('body', 'messages', 0, 'Message', 'role'), 'msg': \"It isn't there\"}",
            "Invalid 'messages[0].role': It isn't there.",
            "messages[0].role",
        ),
        ("{'loc': ('body',), 'msg': 'Value error, `a` is missing'}", "`a` is missing", None),
    ],
)
def test_of_pydantics_text_the_parameter_and_the_reason_pass(faults: str, message: str, param: str | None) -> None:
    more = "{'loc': 'body.other', 'msg': 'b'}\n  File \"/opt/vllm/utils.py\", line 1"
    text = f"2 validation errors:\n  {faults}\n  {more}"
    expected = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    assert shaped(*flat(400, text)) == (400, expected)


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (422, '{"detail":[{"loc":["body","n"],"msg":"Input should be an integer","input":"x"}]}', 400),
        (401, '{"error":"Unauthorized"}', 500),
        (403, "forbidden", 500),
        (429, '{"error":"queue is full"}', 429),
        (500, "Traceback (most recent call last): ...", 500),
        (500, '{"error":{"message":"CUDA out of memory at /opt/vllm/worker.py","code":500}}', 500),
        (503, "", 503),
        (400, "<html>", 400),
        (400, '{"error":{"message":"cannot read \'/models/a/config.json\'","code":400}}', 400),
        (404, '{"error":{"message":"The model `/models/a` does not exist.","code":404}}', 404),
    ],
)
def test_what_is_inside_an_engine_does_not_pass(status: int, text: str, expected: int) -> None:
    answer = shaped(status, text)
    assert answer is not None
    assert expected == answer[0]
    assert ("server_error" if expected in {429, 500, 503} else "invalid_request_error") == answer[1]["type"]
    assert not any(word in answer[1]["message"] for word in ("/", "Traceback", "CUDA", "queue", "Unauthorized"))


def test_an_error_in_openais_shape_passes_unchanged() -> None:
    error = {"message": "a", "type": "invalid_request_error", "param": None, "code": "context_length_exceeded"}
    assert shaped(400, json.dumps({"error": error})) is None
    assert shaped(400, json.dumps({"error": {**error, "code": None, "param": "n"}})) is None


FIELDS = st.sampled_from(["error", "message", "detail", "code", "type", "param", "msg"])
PAGES = st.recursive(
    st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(FIELDS, inner) | st.lists(inner)
)


@given(st.integers(400, 599), st.text() | PAGES.map(json.dumps))
def test_every_error_becomes_valid_json(status: int, text: str) -> None:
    answer = shaped(status, text)
    assert answer is None or 400 <= answer[0] <= 599
