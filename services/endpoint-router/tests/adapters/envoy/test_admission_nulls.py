"""Members of a chat's answer that OpenAI's description requires, and engines leave out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.native import call

LLAMACPP = {
    "choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": 'a "choices":[{'}}],
    "created": 1,
    "model": "m",
    "object": "chat.completion",
    "usage": {"completion_tokens": 2, "prompt_tokens": 34, "total_tokens": 36},
    "id": "chatcmpl-x",
}
VLLM = {
    "id": "chatcmpl-x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a", "refusal": None}, "logprobs": None}],
}
TOOL_CALLS = [{"type": "function", "function": {"name": "f", "arguments": '{"message":{"a":1}}'}, "id": "c"}]


def completed(answer: Any) -> Any:
    text = json.dumps(answer).encode()
    (whole,) = call("with_nulls", text)
    return json.loads(text if whole is None else whole, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key is there twice"
    return dict(pairs)


def expected(answer: dict[str, Any]) -> dict[str, Any]:
    choices = [
        {"logprobs": None, **choice, "message": {"refusal": None, **choice["message"]}} for choice in answer["choices"]
    ]
    return {**answer, "choices": choices}


@pytest.mark.parametrize(
    "message", [{"content": "a"}, {"content": None, "tool_calls": TOOL_CALLS}, {"content": "a", "refusal": "no"}]
)
@pytest.mark.parametrize("choice", [{}, {"logprobs": {"content": [{"token": "message"}]}}])
def test_each_choice_gets_what_it_lacks(message: dict[str, Any], choice: dict[str, Any]) -> None:
    choices = [{"index": index, **choice, "message": {"role": "assistant", **message}} for index in range(3)]
    answer = {**LLAMACPP, "choices": choices}
    assert expected(answer) == completed(answer)


@pytest.mark.parametrize(
    "answer",
    [VLLM, {"object": "list", "data": []}, {"choices": []}, {"choices": None}, {"choices": [{}]}, [], {"choices": [1]}],
)
def test_other_answers_pass_as_they_are(answer: Any) -> None:
    assert [None] == call("with_nulls", json.dumps(answer).encode())


@given(st.integers(0, len(json.dumps(LLAMACPP))), st.binary(max_size=3))
def test_a_damaged_answer_ends_nothing(at: int, damage: bytes) -> None:
    text = json.dumps(LLAMACPP).encode()
    call("with_nulls", text[:at] + damage + text[at + len(damage) :])
    call("with_nulls", text[:at])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["choices", "message", "refusal", "logprobs", "a"]), inner, max_size=4)
        ),
        max_leaves=15,
    )
)
def test_whatever_is_in_an_answer_nothing_else_changes(value: Any) -> None:
    choices = [{"index": 0, "x": value, "message": {"role": "assistant", "content": "a", "x": value}}]
    answer = {"id": "x", "object": "chat.completion", "choices": choices, "x": value}
    assert expected(answer) == completed(answer)
