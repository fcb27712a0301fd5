"""llama.cpp's chunks as events."""

from arks.ark_engine.domain.answer import whole
from arks.ark_engine.domain.events import Tokens, of_chunk, tokens
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


def test_a_chunk_that_opens_a_stream_has_no_event() -> None:
    opening = {"choices": [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}]}
    assert [] == of_chunk(opening, 0)


def test_text_comes_from_chats_and_texts() -> None:
    expected = [StreamCompleteResponse(delta=Delta(index=2, text="a"))]
    assert expected == of_chunk({"choices": [{"finish_reason": None, "delta": {"content": "a"}}]}, 2)
    assert expected == of_chunk({"choices": [{"finish_reason": None, "text": "a", "logprobs": None}]}, 2)


def test_the_last_chunk_of_a_choice_has_its_reason() -> None:
    end = StreamCompleteResponse(end=ChoiceEnd(index=1, finish_reason=FinishReason.FINISH_REASON_LENGTH))
    assert [end] == of_chunk({"choices": [{"finish_reason": "length", "delta": {}}]}, 1)


def test_logprobs_keep_bytes_and_alternatives() -> None:
    token = {"token": "é", "bytes": [195, 169], "logprob": -0.5, "top_logprobs": [{"token": "e", "logprob": -1.5}]}
    (event,) = of_chunk({"choices": [{"finish_reason": None, "text": "é", "logprobs": {"content": [token]}}]}, 0)
    top = [TokenLogprob(token="e", logprob=-1.5)]
    assert [TokenLogprob(token="é", logprob=-0.5, token_bytes=b"\xc3\xa9", top=top)] == list(event.delta.logprobs)


def test_usage_is_in_a_chunk_without_choices() -> None:
    chunk = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    assert (Tokens(3, 4), []) == (tokens(chunk), of_chunk(chunk, 0))
    assert None is tokens({"choices": []})


def test_a_whole_answer_joins_texts_and_pieces_of_tool_calls() -> None:
    events = [
        StreamCompleteResponse(delta=Delta(index=1, text="a")),
        StreamCompleteResponse(delta=Delta(index=0, tool_calls=[ToolCall(index=1, id="c", name="f", arguments="{")])),
        StreamCompleteResponse(delta=Delta(index=1, text="b")),
        StreamCompleteResponse(delta=Delta(index=0, tool_calls=[ToolCall(index=1, arguments="}")])),
        StreamCompleteResponse(end=ChoiceEnd(index=0, finish_reason=FinishReason.FINISH_REASON_TOOL_CALLS)),
        StreamCompleteResponse(finish=StreamEnd(usage=Usage(prompt_tokens=3))),
    ]
    answer = whole(events, 2)
    assert ["", "ab"] == [choice.text for choice in answer.choices]
    assert ToolCall(index=1, id="c", name="f", arguments="{}") == answer.choices[0].tool_calls[1]
    assert (FinishReason.FINISH_REASON_TOOL_CALLS, 3) == (answer.choices[0].finish_reason, answer.usage.prompt_tokens)
