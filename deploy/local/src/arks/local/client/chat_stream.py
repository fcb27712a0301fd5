"""Stream one answer of a model through the gateway, like any client."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

_READ_TIMEOUT_SECONDS = 120.0
_CONNECT_TIMEOUT_SECONDS = 5.0

Messages = list[dict[str, str]]
Clock = Callable[[], float]


class ChatRejected(Exception):
    """The gateway answered with an error: its status and body."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


class AnswerCutOff(Exception):
    """The answer ended with an error of the engine; the message has it."""


class GatewayLost(Exception):
    """The gateway cannot be reached, or ended the connection."""


@dataclass
class Answer:
    """What has arrived of an answer. Times in seconds since the request was sent; None: unknown."""

    text: str = ""
    completion_tokens: int | None = None
    finish_reason: str | None = None
    first_seconds: float | None = None
    seconds: float = 0.0


def models_of(url: str, key: str) -> list[str]:
    """Names of the models that the key may use. Raises ChatRejected, GatewayLost."""
    try:
        with httpx.Client(timeout=_CONNECT_TIMEOUT_SECONDS, trust_env=False) as client:
            response = client.get(f"{url}/models", headers={"Authorization": f"Bearer {key}"})
    except httpx.HTTPError as error:
        raise GatewayLost(str(error) or type(error).__name__) from error
    if response.status_code != 200:
        raise ChatRejected(response.status_code, response.text)
    return [str(model["id"]) for model in response.json().get("data", [])]


@dataclass
class ChatClient:
    url: str
    key: str = field(repr=False)
    model: str
    max_tokens: int | None = None
    clock: Clock = time.monotonic

    def stream(self, messages: Messages, answer: Answer) -> Iterator[str]:
        """Yield the pieces of an answer as they arrive; `answer` has all of them and its figures.

        Raises ChatRejected, AnswerCutOff, GatewayLost.
        """
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": True}
        body["stream_options"] = {"include_usage": True}
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        timeout = httpx.Timeout(_READ_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self.key}"}
        began = self.clock()
        try:
            with (
                httpx.Client(timeout=timeout, trust_env=False) as client,
                client.stream("POST", f"{self.url}/chat/completions", json=body, headers=headers) as response,
            ):
                if response.status_code != 200:
                    response.read()
                    raise ChatRejected(response.status_code, response.text)
                for piece in read_events(response.iter_lines(), answer):
                    if answer.first_seconds is None:
                        answer.first_seconds = self.clock() - began
                    yield piece
        except httpx.HTTPError as error:
            raise GatewayLost(str(error) or type(error).__name__) from error
        finally:
            answer.seconds = self.clock() - began


def read_events(lines: Iterator[str], answer: Answer) -> Iterator[str]:
    """Yield the text in the events of a streamed answer, and note it and its figures. Raises AnswerCutOff."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise AnswerCutOff(str(event["error"].get("message", event["error"])))
        if usage := event.get("usage"):
            answer.completion_tokens = usage.get("completion_tokens")
        for choice in event.get("choices", []):
            answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
            if text := (choice.get("delta") or {}).get("content"):
                answer.text += text
                yield text
