"""A stream that does not conform is found."""

import json
from typing import Any

import pytest

from e2e.support.stream_events import faults

CHAT, COMPLETIONS = "/chat/completions", "/completions"
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def chunk(**fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
    own = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return own | fields


def stream(*chunks: dict[str, Any], end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + end


def text(**fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": "a", "finish_reason": None, "logprobs": None}
    return chunk(object="text_completion", choices=[choice]) | fields


@pytest.mark.parametrize(
    ("path", "answer", "wants_usage"),
    [
        (CHAT, stream(chunk(), chunk()), False),
        (CHAT, stream(chunk(), chunk(choices=[], usage=USAGE)), True),
        (COMPLETIONS, stream(text(), text()), False),
        (COMPLETIONS, stream(text(), text(choices=[], usage=USAGE)), True),
        (COMPLETIONS, stream(text(), text(usage=USAGE)), True),
    ],
)
def test_a_stream_that_conforms_has_no_fault(path: str, answer: str, wants_usage: bool) -> None:
    assert [] == faults(path, answer, wants_usage=wants_usage)


@pytest.mark.parametrize(
    ("path", "answer", "wants_usage"),
    [
        (CHAT, "", False),
        (CHAT, stream(), False),
        (CHAT, stream(chunk(), end=""), False),
        (CHAT, stream(chunk(), end="data: [DONE]"), False),
        (CHAT, stream(chunk(), {"error": {"message": "broken"}}), False),
        (CHAT, stream(chunk(object="chat.completion")), False),
        (CHAT, stream(chunk(created="now")), False),
        (CHAT, stream(chunk(choices=[{"index": 0, "delta": {"content": "a"}}])), False),
        (CHAT, stream(chunk(), chunk(id="other")), False),
        (CHAT, stream(chunk(), chunk(choices=[], usage=USAGE)), False),
        (CHAT, stream(chunk(), chunk()), True),
        (CHAT, stream(chunk(usage=USAGE), chunk(choices=[], usage=USAGE)), True),
        (CHAT, stream(chunk(usage=USAGE)), True),
        (COMPLETIONS, stream(chunk()), False),
        (COMPLETIONS, stream(text(usage=USAGE)), False),
        (COMPLETIONS, "data: {\n\n" + stream(text()), False),
    ],
)
def test_a_stream_that_does_not_conform_has_one(path: str, answer: str, wants_usage: bool) -> None:
    assert faults(path, answer, wants_usage=wants_usage)
