"""Generations as bodies of llama.cpp."""

from typing import Any

import pytest

from arks.ark_engine.domain.bodies import CHAT, TEXT, check, decode_body, path, prefill_body
from arks.ark_engine.domain.failures import Failed
from arks.engine.v1.ark_pb2 import Chat, Generation, Message, ResponseFormat, Sampling, Tool, ToolCall

HELLO = Chat(messages=[Message(role="user", content="hi")])
PLAIN = {"id_slot": 1, "cache_prompt": True, "stream": True, "stream_options": {"include_usage": True}}


def test_a_prompt_is_processed_without_generating() -> None:
    expected = {
        "messages": [{"role": "user", "content": "hi"}],
        "id_slot": 1,
        "cache_prompt": True,
        "max_tokens": 0,
        "n_predict": 0,
    }
    generation = Generation(chat=HELLO, max_tokens=9, stop=["x"], logprobs=True, sampling=Sampling(temperature=1))
    assert expected == prefill_body(generation, 1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"max_tokens": 5, "stop": ["x", "y"]}, {"max_tokens": 5, "stop": ["x", "y"]}),
        ({"sampling": Sampling(temperature=0, top_p=0.5, top_k=0)}, {"temperature": 0.0, "top_p": 0.5, "top_k": 0}),
        ({"sampling": Sampling(repetition_penalty=1.5)}, {"repeat_penalty": 1.5}),
        ({"sampling": Sampling(seed=5)}, {"seed": 7}),
        ({"sampling": Sampling(seed=-1)}, {"seed": 1}),
        ({"sampling": Sampling(logit_bias={7: -100.0, 3: 1.0})}, {"logit_bias": [[3, 1.0], [7, -100.0]]}),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        (
            {"response_format": ResponseFormat(type=ResponseFormat.TYPE_JSON_OBJECT)},
            {"response_format": {"type": "json_object"}},
        ),
        (
            {"response_format": ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, schema_json='{"type": "null"}')},
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}},
        ),
    ],
)
def test_each_parameter_reaches_llama(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """For the choice 2, whose seed is 2 higher than that of the first."""
    body = decode_body(Generation(chat=HELLO, **fields), 1, 2)
    assert {"messages": [{"role": "user", "content": "hi"}], **PLAIN, **expected} == body


def test_a_conversation_with_tools_reaches_llama_whole() -> None:
    call = ToolCall(id="c", name="f", arguments="{}")
    messages = [Message(role="assistant", tool_calls=[call]), Message(role="tool", content="4", tool_call_id="c")]
    chat = Chat(messages=messages, tools=[Tool(name="f", description="d")], tool_choice="required")
    chat.parallel_tool_calls = False
    body = prefill_body(Generation(chat=chat), 0)
    called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert [
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "content": "4", "tool_call_id": "c"},
    ] == body["messages"]
    assert [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}] == body["tools"]
    assert ("required", False) == (body["tool_choice"], body["parallel_tool_calls"])


def test_a_text_has_its_own_path_and_logprobs() -> None:
    generation = Generation(text="x", logprobs=True)
    assert (TEXT, "x", 1) == (
        path(generation),
        decode_body(generation, 0, 0)["prompt"],
        decode_body(generation, 0, 0)["logprobs"],
    )
    assert CHAT == path(Generation(chat=HELLO))


@pytest.mark.parametrize(
    ("generation", "status"),
    [
        (Generation(model="other", chat=HELLO), "NOT_FOUND"),
        (Generation(model="m"), "INVALID_ARGUMENT"),
        (Generation(model="m", chat=Chat()), "INVALID_ARGUMENT"),
        (
            Generation(model="m", chat=Chat(messages=HELLO.messages, tool_choice='{"type": "function"}')),
            "UNIMPLEMENTED",
        ),
    ],
)
def test_a_generation_that_cannot_be_is_refused(generation: Generation, status: str) -> None:
    with pytest.raises(Failed) as failed:
        check(generation, "m")
    assert status == failed.value.status


def test_invalid_json_of_a_schema_names_the_field() -> None:
    with pytest.raises(Failed) as failed:
        prefill_body(Generation(chat=Chat(messages=HELLO.messages, tools=[Tool(parameters_json="{")])), 0)
    assert ("INVALID_ARGUMENT", "tools") == (failed.value.status, failed.value.param)
