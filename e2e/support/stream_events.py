"""Answers as streams against the types of OpenAI's own Python package, which its client does not check itself."""

import json
from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

CHUNKS: dict[str, type[BaseModel]] = {"/chat/completions": ChatCompletionChunk, "/completions": Completion}
"""Path -> the type of each event of its streams."""
USAGE_WITH_CHOICES = "/completions"
"""llama.cpp's own fault: of streams of this path, usage that was requested is in the event of the last choice, where
OpenAI sends an event with an empty list. e2e/test_openai_description.py shows it at the engine's port.
"""


def faults(path: str, text: str, *, wants_usage: bool) -> list[str]:
    """Return what of a stream does not conform; `text`: the whole answer."""
    *chunks, last = [event.removeprefix("data: ") for event in text.split("\n\n") if event] or [""]
    found = [] if last == "[DONE]" and text.endswith("\n\n") else [f"the last event is {last!r}"]
    read: list[dict[str, Any]] = []
    for chunk in chunks:
        try:
            read.append(_checked(path, json.loads(chunk)))
        except (ValueError, LookupError, TypeError) as error:
            found.append(f"{chunk!r}: {error}")
    counted = [chunk for chunk in read if chunk.get("usage") is not None]
    if counted != (read[-1:] if wants_usage else []) or (
        path != USAGE_WITH_CHOICES and any(chunk["choices"] for chunk in counted)
    ):
        found.append(f"usage is {'wanted' if wants_usage else 'not wanted'} in the last event alone: {counted}")
    if len({chunk["id"] for chunk in read}) > 1 or not read:
        found.append("not one id in all events")
    return found


def _checked(path: str, chunk: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError (pydantic's is one), LookupError, TypeError."""
    plain = json.loads(json.dumps(chunk))
    for choice in plain["choices"]:
        if choice["finish_reason"] is None:  # the type of completions has no null, but streams do
            choice["finish_reason"] = "stop"
    CHUNKS[path].model_validate(plain)
    return chunk
