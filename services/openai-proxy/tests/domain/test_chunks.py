"""Events of engines as OpenAI's chunks."""

from typing import Any

import pytest

from arks.engine.v1.ark_pb2 import (
    ChoiceEnd,
    Delta,
    FinishReason,
    StreamCompleteResponse,
    StreamEnd,
    TokenLogprob,
    ToolCall,
    Usage,
)
from arks.openai_proxy.domain.answers import Head
from arks.openai_proxy.domain.chunks import ChatChunks, Chunks, TextChunks

END = StreamCompleteResponse(end=ChoiceEnd(index=1, finish_reason=FinishReason.FINISH_REASON_STOP))
FINISH = StreamCompleteResponse(finish=StreamEnd(usage=Usage(prompt_tokens=1, completion_tokens=2)))


def _chunks(kind: type[Chunks], *, include_usage: bool = False, with_logprobs: bool = False) -> Chunks:
    return kind(Head("x-1", 5, "m"), include_usage=include_usage, with_logprobs=with_logprobs)


def _delta(**fields: Any) -> StreamCompleteResponse:
    return StreamCompleteResponse(delta=Delta(**fields))


def _choice(chunk: dict[str, Any] | None) -> dict[str, Any]:
    assert chunk is not None
    (choice,) = chunk["choices"]
    found: dict[str, Any] = choice
    return found


def test_only_the_first_chunk_of_each_choice_has_the_role() -> None:
    chunks = _chunks(ChatChunks)
    found = [_choice(chunks.of(_delta(index=index, text="a")))["delta"] for index in (0, 1, 0, 1)]
    first, later = {"role": "assistant", "content": "a"}, {"content": "a"}
    assert [first, first, later, later] == found


def test_a_chunk_of_a_chat_is_whole() -> None:
    assert {
        "id": "x-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": "a"}, "logprobs": None, "finish_reason": None}
        ],
    } == _chunks(ChatChunks).of(_delta(text="a"))


def test_the_end_of_a_choice_has_the_reason_and_no_content() -> None:
    assert {"index": 1, "delta": {}, "logprobs": None, "finish_reason": "stop"} == _choice(_chunks(ChatChunks).of(END))


def test_usage_comes_only_if_it_was_requested() -> None:
    assert None is _chunks(ChatChunks).of(FINISH)
    chunks = _chunks(ChatChunks, include_usage=True)
    chunk = chunks.of(FINISH)
    assert chunk is not None
    assert ([], 3) == (chunk["choices"], chunk["usage"]["total_tokens"])
    assert {"usage": None}.items() <= (chunks.of(END) or {}).items()


def test_a_tool_call_comes_in_pieces() -> None:
    chunks = _chunks(ChatChunks)
    first = _delta(tool_calls=[ToolCall(id="c", name="f", arguments="{")])
    later = _delta(tool_calls=[ToolCall(arguments="}")])
    assert {
        "role": "assistant",
        "tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}],
    } == _choice(chunks.of(first))["delta"]
    assert {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]} == _choice(chunks.of(later))["delta"]


def test_offsets_of_a_text_go_on_over_chunks() -> None:
    chunks = _chunks(TextChunks, with_logprobs=True)
    event = _delta(text="ab", logprobs=[TokenLogprob(token="ab", logprob=-1)])
    offsets = [_choice(chunks.of(event))["logprobs"]["text_offset"] for _ in range(3)]
    assert [[0], [2], [4]] == offsets


@pytest.mark.parametrize(("kind", "content"), [(ChatChunks, {"delta": {}}), (TextChunks, {"text": ""})])
def test_an_end_has_the_form_of_its_kind(kind: type[Chunks], content: dict[str, Any]) -> None:
    assert content.items() <= _choice(_chunks(kind).of(END)).items()


def test_an_event_of_a_newer_engine_makes_no_chunk() -> None:
    assert None is _chunks(ChatChunks).of(StreamCompleteResponse())
