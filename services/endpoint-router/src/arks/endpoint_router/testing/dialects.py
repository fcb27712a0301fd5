"""Answers as engines of each kind give them, for tests of what requests are charged."""

import json
from typing import Any, Final, NamedTuple

PROMPT: Final = 31
"""Tokens of each prompt, as engines count them."""
DIALECTS: Final = ("llamacpp", "vllm", "sglang")
_ROLE: Final = {"role": "assistant", "content": ""}


class Work(NamedTuple):
    """What an engine makes for one request. Every answer ends at its limit."""

    dialect: str
    is_chat: bool
    stream: bool
    copies: int
    """Answers to each prompt."""
    prompts: int
    tokens: int
    """Of each answer."""

    @property
    def answers(self) -> int:
        return self.copies * self.prompts

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.is_chat else "/v1/completions"

    @property
    def operation(self) -> str:
        return "chat.completions" if self.is_chat else "completions"

    def body(self, **limits: int) -> bytes:
        """The request of a client."""
        chat = {"messages": [{"role": "user", "content": "a"}]}
        prompt: dict[str, Any] = (
            chat if self.is_chat else {"prompt": "a" if self.prompts == 1 else ["a"] * self.prompts}
        )
        return json.dumps({"model": "m", "stream": self.stream, "n": self.copies, **prompt, **limits}).encode()

    def parts(self) -> list[bytes]:
        """The answer: its events, or its page as the only part."""
        return self._events() if self.stream else [self._page()]

    def _usage(self, answers: int, prompts: int) -> dict[str, Any]:
        prompt, completion = PROMPT * prompts, self.tokens * answers
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _page(self) -> bytes:
        text = "word " * self.tokens
        content: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        )
        choices = [{"index": index, "finish_reason": "length", **content} for index in range(self.answers)]
        if self.dialect != "llamacpp":
            return json.dumps(
                {"id": "x", "choices": choices, "usage": self._usage(self.answers, self.prompts)}
            ).encode()
        timings = {"prompt_n": PROMPT, "predicted_n": self.tokens}
        return json.dumps({"choices": choices, "usage": self._usage(1, 1), "timings": timings}).encode()

    def _chunk(self, index: int, text: str, **more: Any) -> bytes:
        content: dict[str, Any] = {"text": text} if not self.is_chat else {"delta": {"content": text} if text else {}}
        finish_reason = None if text else "length"
        return event(choices=[{"index": index, "finish_reason": finish_reason, **content}], **more)

    def _events(self) -> list[bytes]:
        roles = (
            [event(choices=[{"index": index, "delta": _ROLE}]) for index in range(self.answers)] if self.is_chat else []
        )
        made = [(token, index) for token in range(self.tokens) for index in range(self.answers)]
        if self.dialect == "llamacpp":
            return [*roles, *(part for token, index in made for part in self._llamacpp(token, index)), DONE]
        # vLLM sends null where it has no usage yet, SGLang nothing.
        more = {"usage": None} if self.dialect == "vllm" else {}
        chunks = [self._chunk(index, "a", **more) for _, index in made]
        return [*roles, *chunks, event(choices=[], usage=self._usage(self.answers, self.prompts)), DONE]

    def _llamacpp(self, token: int, index: int) -> list[bytes]:
        """Usage of each answer by itself: without choices in chats, in the last chunk of completions."""
        chunk = self._chunk(index, "a")
        if token + 1 < self.tokens:
            return [chunk]
        usage = self._usage(1, 1)
        if self.is_chat:
            return [chunk, self._chunk(index, ""), event(choices=[], usage=usage)]
        return [chunk, self._chunk(index, "", usage=usage)]


def event(**payload: Any) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"


def delivered(parts: list[bytes]) -> int:
    """Parts of a stream with generated text."""
    return sum(b'"a"' in part for part in parts)
