"""An engine's events as the chunks of a stream.

Each chunk has one choice. Of a chat, the first chunk of a choice has the role. If usage was requested, the chunk before
the end has it and no choices, as in OpenAI's API.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from arks.engine.v1.ark_pb2 import Delta, StreamCompleteResponse, ToolCall
from arks.openai_proxy.domain import logprobs
from arks.openai_proxy.domain.answers import Head, finish_reason, usage


class Chunks(ABC):
    """Makes the chunks of one stream."""

    kind: ClassVar[str]

    def __init__(self, head: Head, *, include_usage: bool, with_logprobs: bool) -> None:
        self._head = head.of(self.kind)
        self._usage = {"usage": None} if include_usage else {}
        self._include_usage = include_usage
        self._with_logprobs = with_logprobs

    def of(self, event: StreamCompleteResponse) -> dict[str, Any] | None:
        """The chunk of an event; None if the client gets nothing of it."""
        match event.WhichOneof("event"):
            case "delta":
                return self._choice(event.delta.index, self._delta(event.delta), self._logprobs(event.delta), None)
            case "end":
                return self._choice(event.end.index, self._empty(), None, finish_reason(event.end.finish_reason))
            case "finish" if self._include_usage:
                return self._head | {"choices": [], "usage": usage(event.finish.usage)}
        return None

    def _choice(
        self, index: int, content: dict[str, Any], found: dict[str, Any] | None, reason: str | None
    ) -> dict[str, Any]:
        choice = {"index": index, **content, "logprobs": found, "finish_reason": reason}
        return {**self._head, "choices": [choice], **self._usage}

    @abstractmethod
    def _delta(self, delta: Delta) -> dict[str, Any]: ...

    @abstractmethod
    def _empty(self) -> dict[str, Any]: ...

    @abstractmethod
    def _logprobs(self, delta: Delta) -> dict[str, Any] | None: ...


class ChatChunks(Chunks):
    kind = "chat.completion.chunk"

    def __init__(self, head: Head, *, include_usage: bool, with_logprobs: bool) -> None:
        super().__init__(head, include_usage=include_usage, with_logprobs=with_logprobs)
        self._begun: set[int] = set()

    def _delta(self, delta: Delta) -> dict[str, Any]:
        content: dict[str, Any] = {}
        if delta.index not in self._begun:
            self._begun.add(delta.index)
            content["role"] = "assistant"
        if delta.reasoning_text:
            content["reasoning_content"] = delta.reasoning_text
        if delta.tool_calls:
            content["tool_calls"] = [_piece(call) for call in delta.tool_calls]
        if delta.text or not (delta.tool_calls or delta.reasoning_text):
            content["content"] = delta.text
        return {"delta": content}

    def _empty(self) -> dict[str, Any]:
        return {"delta": {}}

    def _logprobs(self, delta: Delta) -> dict[str, Any] | None:
        return logprobs.of_chat(delta.logprobs) if self._with_logprobs else None


class TextChunks(Chunks):
    kind = "text_completion"

    def __init__(self, head: Head, *, include_usage: bool, with_logprobs: bool) -> None:
        super().__init__(head, include_usage=include_usage, with_logprobs=with_logprobs)
        self._characters: dict[int, int] = {}

    def _delta(self, delta: Delta) -> dict[str, Any]:
        return {"text": delta.text}

    def _empty(self) -> dict[str, Any]:
        return {"text": ""}

    def _logprobs(self, delta: Delta) -> dict[str, Any] | None:
        if not self._with_logprobs:
            return None
        offset = self._characters.get(delta.index, 0)
        self._characters[delta.index] = offset + len(delta.text)
        return logprobs.of_text(delta.logprobs, offset)


def _piece(call: ToolCall) -> dict[str, Any]:
    """A piece of a tool call: id and name only where the engine sends them."""
    function = ({"name": call.name} if call.name else {}) | {"arguments": call.arguments}
    named = {"id": call.id, "type": "function"} if call.id else {}
    return {"index": call.index, **named, "function": function}
