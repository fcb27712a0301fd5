"""For the command `schemathesis`: requests for the models that run, whose answers are short, some of them as streams,
and a check of those.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis

from e2e.support.openai_description import EMBEDDER, MODEL
from e2e.support.stream_events import CHUNKS, faults

TOKENS, ANSWERS = 4, 2
REFUSED = {
    *("audio", "functions", "function_call", "modalities", "prediction", "store", "service_tier", "suffix", "echo"),
    *("web_search_options", "logprobs", "top_logprobs", "tool_choice", "tools", "response_format", "logit_bias"),
    *("dimensions", "stream", "stream_options"),
}
USAGE = {"include_usage": True}
INPUTS = ("hi", ["hi", "there"], [5, 6], [[5, 6], [7]])
"""The forms that OpenAI allows."""
_numbers: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
"""Path -> of its requests."""
SHORT = ("max_tokens", "max_completion_tokens")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    path = context.operation.path
    number = next(_numbers[path])
    body["model"] = MODEL if path in CHUNKS else EMBEDDER
    if number % 4:  # nearly every request has a value that llama.cpp cannot take; three of four get through
        _make_valid(body, number)
        if path in CHUNKS and number % 2:
            _make_stream(body, with_usage=number % 4 == 1)
    if body.get("encoding_format") == "base64":  # the description has answers with numbers alone
        body["encoding_format"] = "float"
    _make_short(body)
    return body


def _make_valid(body: dict[str, Any], number: int) -> None:
    for name in [name for name in body if name in REFUSED or not name.isascii()]:
        del body[name]
    valid = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "input": INPUTS[number % len(INPUTS)]}
    body |= {name: value for name, value in valid.items() if name in body}


def _make_stream(body: dict[str, Any], *, with_usage: bool) -> None:
    body |= {"stream": True, "stream_options": USAGE if with_usage else None}
    for name in ("n", "best_of"):  # llama.cpp reports the usage of each answer by itself
        body.pop(name, None)


def _make_short(body: dict[str, Any]) -> None:
    for name in SHORT:
        if isinstance(body.get(name), int):
            body[name] = max(-1, min(body[name], TOKENS))
    if not any(body.get(name) for name in SHORT) and "input" not in body:
        body["max_tokens"] = TOKENS
    for name in ("n", "best_of"):
        if isinstance(body.get(name), int):
            body[name] = min(body[name], ANSWERS)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Write path and status, by which the test sees that the suite has reached the engine."""
    with Path(os.environ["ARKS_STATUSES"]).open("a") as file:
        kind = " stream" if _is_stream(response) else ""
        file.write(f"{case.operation.path} {response.status_code}{kind}\n")


@schemathesis.check
def stream_conformance(ctx: Any, response: Any, case: Any) -> None:
    """Raises AssertionError."""
    if not _is_stream(response):
        return
    options = case.body.get("stream_options") or {}
    found = faults(case.operation.path, response.text, wants_usage=options.get("include_usage") is True)
    assert not found, "; ".join(found)


def _is_stream(response: Any) -> bool:
    return any(value.startswith("text/event-stream") for value in response.headers.get("content-type", []))
