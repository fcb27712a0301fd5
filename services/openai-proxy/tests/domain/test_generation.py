"""Bodies of clients as generations."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from pydantic import ValidationError

from arks.openai_proxy.domain.errors import ApiError
from arks.openai_proxy.domain.generation import from_chat, from_text
from arks.openai_proxy.domain.requests import ChatBody, TextBody

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def _chat(**fields: Any) -> dict[str, Any]:
    generation = from_chat(ChatBody.model_validate(HELLO | fields), "id")
    return MessageToDict(generation, preserving_proto_field_name=True)


def test_a_plain_chat_sets_no_sampling() -> None:
    expected = {
        "id": "id",
        "model": "m",
        "chat": {"messages": [{"role": "user", "content": "hi"}]},
        "sampling": {},
        "choices": 1,
    }
    assert expected == _chat()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0}, {"sampling": {"temperature": 0.0}}),
        ({"top_p": 0.5, "top_k": 3, "min_p": 0.1}, {"sampling": {"top_p": 0.5, "top_k": 3, "min_p": 0.1}}),
        ({"seed": 7, "repetition_penalty": 1.5}, {"sampling": {"seed": "7", "repetition_penalty": 1.5}}),
        (
            {"presence_penalty": -2, "frequency_penalty": 2.0},
            {"sampling": {"presence_penalty": -2.0, "frequency_penalty": 2.0}},
        ),
        ({"logit_bias": {"5": -100}}, {"sampling": {"logit_bias": {"5": -100.0}}}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"stop": "x"}, {"stop": ["x"]}),
        ({"stop": ["x", "", "y"]}, {"stop": ["x", "y"]}),
        ({"n": 3}, {"choices": 3}),
        ({"n": 3.0, "seed": 2.0}, {"choices": 3, "sampling": {"seed": "2"}}),
        ({"seed": 2**63}, {"sampling": {"seed": str(2**63 - 1)}}),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"response_format": {"type": "text"}}, {"response_format": {}}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "TYPE_JSON_OBJECT"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "null"}}}},
            {"response_format": {"type": "TYPE_JSON_SCHEMA", "schema_json": '{"type": "null"}'}},
        ),
        ({"user": "u", "store": True, "metadata": {}}, {"user": "u"}),
    ],
)
def test_each_parameter_reaches_the_engine(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert expected == {name: value for name, value in _chat(**fields).items() if name in expected}


def test_a_conversation_with_tools_reaches_the_engine_whole() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "kind"}]},
        {"role": "user", "content": "hi", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ]
    choice = {"type": "function", "function": {"name": "f"}}
    found = _chat(messages=messages, tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)["chat"]
    assert [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi", "name": "Ann"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "name": "f", "arguments": "{}"}]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ] == found["messages"]
    assert [{"name": "f", "parameters_json": '{"type": "object"}'}] == found["tools"]
    assert ('{"type": "function", "function": {"name": "f"}}', False) == (
        found["tool_choice"],
        found["parallel_tool_calls"],
    )


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
            "the engine reads text only, not image_url",
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "is missing"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "is missing"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages[0].tool_call_id", "is missing"),
        ({"tool_choice": "required"}, "tool_choice", "needs tools"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            "no tool has the name 'g'",
        ),
        ({"top_logprobs": 1}, "top_logprobs", "needs logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "token ids"),
        ({"logit_bias": {"1_0": 1}}, "logit_bias", "token ids"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "from -100 to 100"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "needs json_schema"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_with_the_field(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(ApiError, match=message) as refused:
        _chat(**fields)
    assert (400, param) == (refused.value.status, refused.value.param)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ""},
        {"model": 5},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"role": "robot", "content": "hi"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"temperature": "0.7"},
        {"temperature": True},
        {"temperature": 2.1},
        {"temperature": float("nan")},
        {"top_p": 1.1},
        {"n": 0},
        {"n": 1.5},
        {"n": 17},
        {"max_tokens": 0},
        {"max_tokens": 2**31},
        {"seed": 2**63 + 200},
        {"top_k": 1.5},
        {"stop": ["x"] * 17},
        {"stream": "yes"},
        {"top_logprobs": 21, "logprobs": True},
        {"tools": [{"type": "function", "function": {"name": ""}}]},
        {"response_format": {"type": "xml"}},
    ],
)
def test_wrong_types_and_ranges_are_invalid(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChatBody.model_validate(HELLO | fields)


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_text_reaches_the_engine_as_it_is(prompt: object) -> None:
    body = TextBody.model_validate({"model": "m", "prompt": prompt, "logprobs": 0, "n": 2, "best_of": 2})
    generation = from_text(body, "id")
    assert ("Once", True, 0, 2) == (
        generation.text,
        generation.logprobs,
        generation.top_logprobs,
        generation.choices,
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1]]}, "prompt"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
    ],
)
def test_what_a_text_cannot_have_is_refused_with_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        from_text(TextBody.model_validate({"model": "m", "prompt": "x"} | fields), "id")
    assert param == refused.value.param
