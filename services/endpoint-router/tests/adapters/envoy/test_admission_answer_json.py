"""The usage of answers in JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.answers import SAMPLE_USAGE, cuts
from arks.endpoint_router.testing.filter import Meter


def test_usage_of_a_json_answer_is_found_wherever_it_is_split() -> None:
    text = json.dumps({"id": "x", "usage": SAMPLE_USAGE, "object": "y"}).encode()
    for chunks in ([text[:at], text[at:]] for at in range(len(text) + 1)):
        meter = Meter(stream=False)
        assert chunks == [meter.feed(chunk) for chunk in chunks]
        assert meter.usage == "e,12,3"


TOKENS = st.integers(0, 10**9)
FILLERS = st.dictionaries(st.sampled_from(["id", "data", "choices", "timings"]), st.text() | st.lists(st.floats()))


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Return a JSON answer in pieces, and the usage in it."""
    prompt, completion = draw(TOKENS), draw(st.none() | TOKENS)
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        **({} if completion is None else {"completion_tokens": completion}),
    }
    details: dict[str, Any] = {"prompt_tokens_details": {"cached_tokens": 1, "prompt_tokens": 0}, "total_tokens": 1}
    usage = dict(draw(st.permutations([*usage.items(), *details.items()])))
    trap = {"trap": ['"usage":{"prompt_tokens":1}', "usage", {"usage": None}]}
    document = {**draw(FILLERS), **trap, "usage": usage, "system_fingerprint": None}
    text = json.dumps(document, indent=draw(st.sampled_from([None, 2]))).encode()
    return f"e,{prompt},{completion or 0}", draw(cuts(text))


@given(answers())
def test_usage_of_a_json_answer_is_found_wherever_chunks_end(sample: tuple[str, list[bytes]]) -> None:
    usage, chunks = sample
    meter = Meter(stream=False)
    assert b"".join(chunks) == meter.follow(chunks)
    assert usage == meter.usage


@pytest.mark.parametrize(
    "text",
    [
        b'{"usage":null}',
        b'{"usage":{}}',
        b'{"usage":{"prompt_tokens":-1}}',
        b'{"usage":{"prompt_tokens":1.5}}',
        b'{"usage":{"prompt_tokens":"1"}}',
        b'{"usage":{"prompt_tokens":1',
        b'{"error":{"message":"no"}}',
        b"<html>",
        b"",
    ],
)
def test_invalid_usage_is_ignored(text: bytes) -> None:
    meter = Meter(stream=False)
    meter.follow([text])
    assert meter.usage is None


def test_a_value_that_reads_usage_is_no_key() -> None:
    meter = Meter(stream=False)
    meter.follow([json.dumps({"list": ["usage", {"prompt_tokens": 99}], "usage": SAMPLE_USAGE}).encode()])
    assert "e,12,3" == meter.usage


def test_a_later_and_smaller_usage_does_not_win() -> None:
    meter = Meter(stream=False)
    meter.follow([json.dumps({"usage": SAMPLE_USAGE, "echo": {"usage": {"prompt_tokens": 1}}}).encode()])
    assert meter.usage == "e,12,3"


# --- several answers in JSON


def choice(text: str, *, cut: bool = True) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": "length" if cut else "stop"}


def page(choices: list[dict[str, Any]], completion: int, predicted: int | None) -> bytes:
    """An answer; `predicted`: what llama.cpp adds."""
    timings = {} if predicted is None else {"timings": {"cache_n": 0, "predicted_n": predicted}}
    return json.dumps(
        {"choices": choices, "usage": {"prompt_tokens": 12, "completion_tokens": completion}, **timings},
        separators=(",", ":"),
    ).encode()


LONG = "word " * 100
PAGES = {
    "vLLM and SGLang report the sum": (3, page([choice(LONG)] * 3, 24, None), "e,12,24"),
    "llama.cpp reports the first": (3, page([choice("a b c d e f")] * 3, 8, 8), "e,12,24"),
    "a llama.cpp that reports the sum": (3, page([choice(LONG)] * 3, 24, 8), "e,12,24"),
    "the prompts of a list": (1, page([choice("a b c d")] * 3, 4, 4), "e,40,12"),
    "copies of the prompts of a list": (2, page([choice("a b c d")] * 4, 4, 4), "e,40,16"),
    "a longer answer than one at the limit": (2, page([choice("a b c d"), choice(LONG, cut=False)], 4, 4), "e,12,158"),
    "a longer answer at the limit": (2, page([choice("a b c d", cut=False), choice(LONG)], 4, 4), "e,12,167"),
    "an answer without text": (2, page([choice("a b c d"), choice("", cut=False)], 4, 4), "e,12,5"),
    "one answer": (2, page([choice(LONG)], 8, 8), "e,12,8"),
    "no choices": (2, b'{"usage":{"prompt_tokens":3,"completion_tokens":2},"timings":{"predicted_n":2}}', "e,3,2"),
    "not an answer": (2, b'{"error":{"message":"no"}}', None),
}


@pytest.mark.parametrize("name", PAGES)
def test_every_answer_in_json_is_charged(name: str) -> None:
    copies, text, usage = PAGES[name]
    for chunks in ([text], [bytes([each]) for each in text]):
        meter = Meter(stream=False, copies=copies)
        assert text == meter.follow(chunks)
        assert usage == meter.usage


@given(st.integers(3, 5), st.lists(st.integers(1, 400), min_size=2, max_size=8))
def test_answers_that_llama_cpp_does_not_count_are_charged_by_their_text(bytes_a_token: int, tokens: list[int]) -> None:
    """No charge is far off, nor is a short first answer the measure of all."""
    choices = [choice("x" * bytes_a_token * each, cut=False) for each in tokens]
    meter = Meter(stream=False, copies=len(tokens))
    meter.follow([page(choices, tokens[0], tokens[0])])
    assert meter.usage is not None
    charged, made = int(meter.usage.split(",")[2]), sum(tokens)
    assert 0.7 * made <= charged <= 1.4 * made + len(tokens)
