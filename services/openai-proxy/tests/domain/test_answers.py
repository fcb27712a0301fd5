"""Answers of engines as OpenAI's JSON."""

import pytest

from arks.engine.v1.ark_pb2 import (
    Choice,
    CompleteResponse,
    FinishReason,
    Model,
    TokenLogprob,
    ToolCall,
    Usage,
)
from arks.openai_proxy.domain.answers import Head, chat_answer, finish_reason, model_list, text_answer

HEAD = Head("x-1", 5, "m")
TOKEN = TokenLogprob(token="é", logprob=-0.5, token_bytes="é".encode(), top=[TokenLogprob(token="e", logprob=-1.0)])
USAGE = Usage(prompt_tokens=3, completion_tokens=4, cached_prompt_tokens=2)
USAGE_JSON = {
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 2},
}


def test_a_chat_has_its_text_usage_and_reason() -> None:
    choice = Choice(text="hi", finish_reason=FinishReason.FINISH_REASON_LENGTH, reasoning_text="hm")
    expected = {
        "id": "x-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "reasoning_content": "hm"},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": USAGE_JSON,
    }
    assert expected == chat_answer(HEAD, CompleteResponse(choices=[choice], usage=USAGE), with_logprobs=False)


def test_tool_calls_have_no_content() -> None:
    call = ToolCall(id="c", name="f", arguments="{}")
    choice = Choice(tool_calls=[call], finish_reason=FinishReason.FINISH_REASON_TOOL_CALLS)
    (found,) = chat_answer(HEAD, CompleteResponse(choices=[choice]), with_logprobs=False)["choices"]
    called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert {"role": "assistant", "content": None, "tool_calls": [called]} == found["message"]
    assert "tool_calls" == found["finish_reason"]


def test_an_empty_answer_has_empty_content() -> None:
    (found,) = chat_answer(HEAD, CompleteResponse(choices=[Choice()]), with_logprobs=False)["choices"]
    assert "" == found["message"]["content"]


def test_logprobs_of_a_chat_have_tokens_bytes_and_alternatives() -> None:
    (found,) = chat_answer(HEAD, CompleteResponse(choices=[Choice(logprobs=[TOKEN])]), with_logprobs=True)["choices"]
    token = {
        "token": "é",
        "logprob": -0.5,
        "bytes": [195, 169],
        "top_logprobs": [{"token": "e", "logprob": -1.0, "bytes": []}],
    }
    assert {"content": [token], "refusal": None} == found["logprobs"]


def test_a_text_has_the_older_form_of_logprobs() -> None:
    choice = Choice(text="éé", logprobs=[TOKEN, TOKEN], finish_reason=FinishReason.FINISH_REASON_STOP)
    answer = text_answer(HEAD, CompleteResponse(choices=[choice], usage=USAGE), with_logprobs=True)
    logprobs = {
        "tokens": ["é", "é"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"e": -1.0}, {"e": -1.0}],
        "text_offset": [0, 1],
    }
    expected = {"index": 0, "text": "éé", "logprobs": logprobs, "finish_reason": "stop"}
    assert ("text_completion", [expected], USAGE_JSON) == (answer["object"], answer["choices"], answer["usage"])


@pytest.mark.parametrize("reason", [FinishReason.FINISH_REASON_UNSPECIFIED, 77])
def test_a_reason_that_openai_does_not_have_is_stop(reason: int) -> None:
    assert "stop" == finish_reason(reason)


def test_a_model_has_its_context_if_the_engine_gives_it() -> None:
    found = model_list([Model(id="a", created_seconds=1, owned_by="me", context_tokens=9), Model(id="b")])
    assert {
        "object": "list",
        "data": [
            {"id": "a", "object": "model", "created": 1, "owned_by": "me", "max_model_len": 9},
            {"id": "b", "object": "model", "created": 0, "owned_by": "arks"},
        ],
    } == found
