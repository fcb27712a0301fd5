"""Errors of llama.cpp."""

from typing import Any

import pytest

from arks.ark_engine.domain.failures import from_llama

TOO_LONG = {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 4, "message": "m"}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, TOO_LONG, ("OUT_OF_RANGE", "the prompt has 9 tokens, the context 4", "context_length_exceeded")),
        (400, {"error": {"message": "bad grammar"}}, ("INVALID_ARGUMENT", "bad grammar", "")),
        (400, None, ("INVALID_ARGUMENT", "llama.cpp answered 400", "")),
        (500, {"error": "text"}, ("INTERNAL", "llama.cpp answered 500", "")),
        (503, {"error": {"message": "Loading model"}}, ("UNAVAILABLE", "Loading model", "")),
    ],
)
def test_an_error_of_llama_has_a_status(status: int, body: Any, expected: tuple[str, str, str]) -> None:
    failed = from_llama(status, body)
    assert expected == (failed.status, failed.message, failed.code)
