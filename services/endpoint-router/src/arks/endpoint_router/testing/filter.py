"""The parts of the gateway's filter, as its tests call them, and random request bodies to read."""

import json
from collections.abc import Sequence
from itertools import takewhile
from random import Random
from typing import Any

from arks.endpoint_router.testing.native import call

RESERVED_PROMPT = 40
"""Tokens of the prompt of an answer that a Meter follows."""
ANSWERS = ("n", "n_cmpl", "best_of")
LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
_KEYS = ("messages", "tools", "temperature", "stop", "user", "metadata", "prompt", "x-y", "Z")
_TEXTS = (
    "",
    "a",
    'a "b" c',
    "\\",
    '\\"',
    '"usage":{',
    "{[",
    "]}",
    "\u0000",
    "\u00e9\u4e2d\U0001f600",
    "\\\\" * 9,
    "b" * 40,
)
_SPACES = ("", "", "", " ", "\n", "\t \r\n")
_SPLINTERS = (*(bytes([each]) for each in b"\"\\{}[],:/' 0e-\x00\xff"), b"\xef\xbb\xbf", b"null", b'"stream":true,')


def read(body: bytes) -> dict[str, Any] | None:
    """Return what the filter reads, without the bytes of text; None if it rejects the body."""
    members = call("read_request", body)
    if len(members) == 1:
        return None
    model, stream, max_tokens, answers, copies, uses, _, rewritten, *model_at = members
    start, end = [int(each) for each in model_at if each is not None]
    assert b'"%b"' % (model or b"") == (body if rewritten is None else rewritten)[start:end]
    request = {
        "model": model,
        "stream": stream == b"1",
        "max_tokens": None if max_tokens is None else int(max_tokens),
        "answers": None if answers is None else int(answers),
        "copies": None if copies is None else int(copies),
        "uses": uses,
        "body": rewritten,
    }
    return {name: value for name, value in request.items() if value is not None}


def refusal(body: bytes) -> dict[str, str]:
    """Return the error by which the filter rejects the body."""
    (envelope,) = call("read_request", body)
    return json.loads(envelope or b"")["error"]  # type: ignore[no-any-return]


def early_fault(*parts: bytes) -> dict[str, str] | None:
    """Return the error by which the filter rejects a body before its end, once these parts of it are there."""
    (envelope,) = call("early_fault", *parts)
    return None if envelope is None else json.loads(envelope)["error"]


def read_whole(body: bytes) -> list[bytes | None]:
    """Return all that the filter reads in a body, positions in it included; only None if it rejects the body."""
    positions = call("positions_of_request", body)
    return positions if positions == [None] else [*positions, *call("read_request", body)]


def read_parts(*parts: bytes) -> list[bytes | None] | None:
    """Return the same of a body in parts; None if the filter has to read the whole of it."""
    return call("read_parts", *parts) or None


def text_bytes(body: bytes) -> int:
    """Return how many bytes of the body the filter counts as text."""
    return int(call("read_request", body)[6] or 0)


def seconds_to_read(body: bytes) -> float:
    """Return how long the filter reads a valid body, without the call from Python."""
    (nanoseconds,) = call("nanoseconds_to_read", body)
    return int(nanoseconds or 0) / 1e9


def expected(document: dict[str, Any]) -> dict[str, Any]:
    """Return what the filter must read in a document, without `body`; of uses, tools alone."""
    given = [document[name] for name in LIMITS if document.get(name) is not None]
    copies = max(document.get(name) or 1 for name in ANSWERS)
    answers = copies * _prompts(document.get("prompt"))
    tools = document.get("tools")
    values = {
        "model": document["model"].encode(),
        "stream": bool(document.get("stream")),
        "max_tokens": max(given) if given and all(given) else None,
        "answers": answers if answers > 1 else None,
        "copies": copies if answers > 1 else None,
        "uses": b"tools" if tools and isinstance(tools, list) else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def is_rejected(document: dict[str, Any]) -> bool:
    """Return whether the document has an empty prompt, options of a stream without one, or no messages."""
    if _is_empty(document.get("messages")):
        return True
    if document.get("stream_options") is not None and not document.get("stream"):
        return True
    prompt = document.get("prompt")
    return any(map(_is_empty, [prompt, *(prompt if isinstance(prompt, list) else [])]))


def _is_empty(prompt: object) -> bool:
    return prompt in ("", []) or (isinstance(prompt, dict) and '"prompt_string": ""' in json.dumps(prompt))


def _prompts(prompt: object) -> int:
    """Return the number of texts, lists and objects at the start of a list; one for any other value."""
    if not isinstance(prompt, list):
        return 1
    return max(1, sum(1 for _ in takewhile(lambda each: isinstance(each, str | list | dict), prompt)))


class Bodies:
    """Random bodies of requests, the same for each seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311  # not for secrets

    def document(self) -> dict[str, Any]:
        choice, number = self._random.choice, self._random.randint
        optional: dict[str, Any] = {
            "stream": choice((True, False, None)),
            **{name: choice((None, 1, 128)) for name in ANSWERS},
            "stream_options": choice((None, {}, {"include_usage": choice((True, False))}, {"x": self._value(2)})),
            **{name: choice((None, 0, number(1, 10_000_000))) for name in LIMITS},
            **{key: self._value(4) for key in _KEYS},
        }
        members = self._random.sample(sorted(optional.items(), key=lambda item: item[0]), number(0, 8))
        members.insert(number(0, len(members)), ("model", choice(("m", "org/m 1", "x" * 256))))
        document = dict(members)
        if not document.get("stream"):
            document.pop("stream_options", None)
        if is_rejected(document):
            for key in ("prompt", "messages"):
                document.pop(key, None)
        return document

    def body(self) -> bytes:
        """Return a valid body, in any spelling of JSON."""
        space = self._random.choice(_SPACES)
        separators = (f"{space},{space}", f"{space}:{space}")
        text = json.dumps(self.document(), ensure_ascii=self._random.random() < 0.5, separators=separators)
        return f"{space}{text}{space}".encode("utf-8", "surrogatepass")

    def damaged(self) -> bytes:
        """Return a body with a few bytes changed; it may still be valid."""
        body = bytearray(self.body())
        for _ in range(self._random.randint(1, 3)):
            at = self._random.randint(0, len(body))
            body[at : at + self._random.randint(0, 2)] = self._random.choice(_SPLINTERS)
        return bytes(body)

    def _value(self, depth: int) -> Any:
        kind = self._random.randint(0, 6 if depth else 4)
        if kind == 0:
            return self._random.choice((None, True, False))
        if kind == 1:
            return self._random.choice((0, -1, 1.5, 1e300, 10**30))
        if kind <= 4:
            return self._random.choice(_TEXTS)
        values = [self._value(depth - 1) for _ in range(self._random.randint(0, 3))]
        return (
            values
            if kind == 5
            else {f"{self._random.choice(_TEXTS)}{number}": each for number, each in enumerate(values)}
        )


class Meter:
    """The filter's state for one answer."""

    def __init__(self, *, stream: bool, cut: bool = False, copies: int | None = None) -> None:
        several = None if copies is None else b"%d" % copies
        (self._number,) = call("meter_new", _truth(stream), _truth(cut), several, b"%d" % RESERVED_PROMPT)

    def change(self, chunk: bytes) -> bytes | None:
        """Return what replaces this chunk; None if it passes as it is."""
        (instead,) = call("meter_feed", self._number, chunk)
        return instead

    def feed(self, chunk: bytes) -> bytes:
        """Return what the client gets when this chunk arrives."""
        instead = self.change(chunk)
        return chunk if instead is None else instead

    def follow(self, chunks: Sequence[bytes]) -> bytes:
        sent = b"".join([self.feed(chunk) for chunk in chunks])
        call("meter_finish", self._number)
        return sent

    @property
    def usage(self) -> str | None:
        (usage,) = call("meter_usage", self._number)
        return None if usage is None else usage.decode()


def _truth(value: bool) -> bytes | None:
    return b"1" if value else None
