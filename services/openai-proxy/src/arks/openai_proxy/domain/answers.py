"""An engine's whole answer as OpenAI's JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from arks.engine.v1.ark_pb2 import Choice, CompleteResponse, FinishReason, Model, ToolCall, Usage
from arks.openai_proxy.domain import logprobs

FINISH: dict[int, str] = {
    FinishReason.FINISH_REASON_STOP: "stop",
    FinishReason.FINISH_REASON_LENGTH: "length",
    FinishReason.FINISH_REASON_TOOL_CALLS: "tool_calls",
    FinishReason.FINISH_REASON_CONTENT_FILTER: "content_filter",
}
_UNKNOWN_FINISH = "stop"
"""For reasons that a newer engine may send: clients accept OpenAI's words only."""


@dataclass(frozen=True)
class Head:
    """What every object of one answer begins with."""

    id: str
    created: int
    """Seconds since 1970-01-01 UTC."""
    model: str

    def of(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def finish_reason(reason: int) -> str:
    return FINISH.get(reason, _UNKNOWN_FINISH)


def usage(found: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": found.prompt_tokens,
        "completion_tokens": found.completion_tokens,
        "total_tokens": found.prompt_tokens + found.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": found.cached_prompt_tokens},
    }


def chat_answer(head: Head, response: CompleteResponse, *, with_logprobs: bool) -> dict[str, Any]:
    choices = [_chat_choice(choice, with_logprobs) for choice in response.choices]
    return head.of("chat.completion") | {"choices": choices, "usage": usage(response.usage)}


def _chat_choice(choice: Choice, with_logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or (None if choice.tool_calls else "")}
    if choice.reasoning_text:
        message["reasoning_content"] = choice.reasoning_text
    if choice.tool_calls:
        message["tool_calls"] = [tool_call(call) for call in choice.tool_calls]
    return {
        "index": choice.index,
        "message": message,
        "logprobs": logprobs.of_chat(choice.logprobs) if with_logprobs else None,
        "finish_reason": finish_reason(choice.finish_reason),
    }


def tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def text_answer(head: Head, response: CompleteResponse, *, with_logprobs: bool) -> dict[str, Any]:
    choices = [
        {
            "index": choice.index,
            "text": choice.text,
            "logprobs": logprobs.of_text(choice.logprobs) if with_logprobs else None,
            "finish_reason": finish_reason(choice.finish_reason),
        }
        for choice in response.choices
    ]
    return head.of("text_completion") | {"choices": choices, "usage": usage(response.usage)}


def model(found: Model) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": found.id,
        "object": "model",
        "created": found.created_seconds,
        "owned_by": found.owned_by or "arks",
    }
    return answer | ({"max_model_len": found.context_tokens} if found.context_tokens else {})


def model_list(found: Iterable[Model]) -> dict[str, Any]:
    return {"object": "list", "data": [model(each) for each in found]}
