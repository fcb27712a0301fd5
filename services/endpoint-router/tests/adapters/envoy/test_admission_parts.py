"""A body in several parts is read as the whole is, wherever its parts are cut; without a copy if its text is long."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arks.endpoint_router.testing.filter import Bodies, read_parts, read_whole

BODIES = Bodies(21)
LEAST_BYTES = 32 * 1024
"""Shorter bodies are copied."""
TEXT = "x" * (2 * LEAST_BYTES)
# What decides where a string ends, and what the reader looks for beside quotes; at the edges of a cut and inside of it.
PIECES = ['"', "\\", '"data:', "_audio", ";base64,", '"input_audio":{"data":"', "\n", "é", "{[", "]}", "prompt_string"]
RUNS = ["", "a" * 20, "b" * 63, "c" * 64, "d" * 65, "e" * 127, "f" * 128, "g" * 400, "h" * 9000, "\\" * 301, "\n" * 302]
texts = st.lists(st.sampled_from(PIECES + RUNS), max_size=6).map("".join)
KEYS = [*["messages", "input", "prompt"] * 4, "model", "tools", "suffix", "metadata", "prompt_cache_key", "x"]


def body_of(**members: Any) -> bytes:
    return json.dumps({"model": "m", **members}, ensure_ascii=False).encode()


def chat(text: str, **members: Any) -> bytes:
    return body_of(messages=[{"role": "user", "content": text}], **members)


def parts_of(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def halves(body: bytes) -> list[bytes]:
    return parts_of(body, [len(body) // 2])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Random bodies with a long string at the beginning or the end, some of them not valid."""
    text = json.dumps(draw(texts) + TEXT + draw(texts), ensure_ascii=draw(st.booleans()))
    value = draw(st.sampled_from([text, f'[{{"role":"user","content":{text}}}]', f"[{text}]", f"{{{text}:{text}}}"]))
    member = f'"{draw(st.sampled_from(KEYS))}":{value}'.encode()
    other = draw(st.sampled_from(VALID))
    comma = b"" if other.lstrip()[1:].lstrip().startswith(b"}") else b","
    if draw(st.booleans()):
        return other.replace(b"{", b"{" + member + comma, 1)
    closing = other.rindex(b"}")
    return other[:closing] + comma + member + other[closing:]


VALID = [BODIES.body() for _ in range(200)]


@example(chat(TEXT), [0])
@example(chat('"data:image/png;base64,' + TEXT), [1])
@example(chat(TEXT + "\\" * 101 + '"' + "\\" * 101), [65_600])
@example(chat(TEXT, stream=True), [16_384, 32_768])
@example(body_of(prompt=TEXT, n=3, response_format={"type": "json_object"}), [7])
@example(body_of(input=[TEXT, TEXT]), [9])
@example(body_of(prompt=[TEXT, "", TEXT]), [9])
@example(chat(TEXT, grammar=TEXT), [9])
@example(chat(TEXT, **{TEXT: 1}), [9])
@example(chat(TEXT).replace(b"xx", b"x\0", 1), [9])
@given(bodies(), st.lists(st.integers(0, 200_000), min_size=1, max_size=5))
def test_parts_are_read_as_the_whole_is_or_not_at_all(body: bytes, cuts: list[int]) -> None:
    found = read_parts(*parts_of(body, cuts))
    if found is not None:
        assert read_whole(body) == found


@pytest.mark.parametrize(
    "body",
    [
        chat('a "b" \\ \n \\"' + TEXT + '\\" "_audi', stream=True),
        chat("\\" * 777 + TEXT, stream=True, stream_options={"include_usage": True}),
        b' {"prompt" : "' + TEXT.encode() + b'\\\\\\"", "prompt_cache_key": "s", "model": "m"} \n',
    ],
)
def test_a_body_may_be_cut_at_every_position(body: bytes) -> None:
    whole = read_whole(body)
    near = [*range(300), *range(len(TEXT) - 200, len(TEXT) + 1000)]
    for cut in [each for each in near if each <= len(body)]:
        assert whole == read_parts(body[:cut], body[cut:]), cut
        assert whole == read_parts(body[:cut], body[cut : cut + 1], body[cut + 1 :]), cut


@pytest.mark.parametrize(
    "body",
    [
        chat(TEXT),
        chat(TEXT, stream=True),
        chat("line\n" * 20_000),
        chat(TEXT + "\\" * 40),
        chat("a" + "\\" * 40 + TEXT + "\\" * 40 + '"'),
        chat('say "word", ' + "b" * 1000 + '"' + TEXT),
        body_of(prompt=TEXT),
        body_of(input=[TEXT, TEXT]),
        body_of(input=TEXT),
    ],
)
def test_long_texts_need_no_copy(body: bytes) -> None:
    assert read_parts(*halves(body)) is not None
    assert read_parts(body[:1], body[1:]) is not None


@pytest.mark.parametrize(
    "body",
    [
        chat("short"),
        chat('"data:image/png;base64,' + TEXT),
        body_of(prompt=[TEXT, ""], n=1),
        body_of(prompt={"prompt_string": TEXT}),
        body_of(prompt=[1] * LEAST_BYTES),
        chat("hello", metadata={"a": TEXT}),
        chat(TEXT)[:-1],
    ],
)
def test_what_an_outline_may_not_decide_is_read_as_a_whole(body: bytes) -> None:
    assert read_parts(*halves(body)) is None
