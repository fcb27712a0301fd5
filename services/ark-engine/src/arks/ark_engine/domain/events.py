"""llama.cpp's chunks of a stream as events of the protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arks.engine.v1.ark_pb2 import ChoiceEnd, Delta, FinishReason, StreamCompleteResponse, TokenLogprob, ToolCall

_FINISH = {
    "stop": FinishReason.FINISH_REASON_STOP,
    "length": FinishReason.FINISH_REASON_LENGTH,
    "tool_calls": FinishReason.FINISH_REASON_TOOL_CALLS,
}


@dataclass(frozen=True)
class Tokens:
    """What a stream's last chunk counts."""

    prompt: int
    completion: int


def of_chunk(chunk: Mapping[str, Any], index: int) -> list[StreamCompleteResponse]:
    """The events of a chunk, for the choice `index`. Chunks that only open or close a stream have none."""
    events = []
    for choice in chunk.get("choices", ()):
        delta = _delta(choice, index)
        if delta.text or delta.reasoning_text or delta.tool_calls or delta.logprobs:
            events.append(StreamCompleteResponse(delta=delta))
        if (reason := choice.get("finish_reason")) is not None:
            finish = _FINISH.get(reason, FinishReason.FINISH_REASON_STOP)
            events.append(StreamCompleteResponse(end=ChoiceEnd(index=index, finish_reason=finish)))
    return events


def tokens(chunk: Mapping[str, Any]) -> Tokens | None:
    usage = chunk.get("usage")
    return Tokens(int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None


def _delta(choice: Mapping[str, Any], index: int) -> Delta:
    content = choice.get("delta", choice)
    return Delta(
        index=index,
        text=content.get("content") or content.get("text") or "",
        reasoning_text=content.get("reasoning_content") or "",
        tool_calls=[_call(call) for call in content.get("tool_calls") or ()],
        logprobs=[_logprob(token) for token in (choice.get("logprobs") or {}).get("content") or ()],
    )


def _call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function", {})
    return ToolCall(
        index=call.get("index", 0),
        id=call.get("id") or "",
        name=function.get("name") or "",
        arguments=function.get("arguments") or "",
    )


def _logprob(token: Mapping[str, Any]) -> TokenLogprob:
    return TokenLogprob(
        token=token["token"],
        logprob=token["logprob"],
        token_bytes=bytes(token.get("bytes") or ()),
        top=[_logprob(other) for other in token.get("top_logprobs") or ()],
    )
