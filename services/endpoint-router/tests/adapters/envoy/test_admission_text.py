"""Which bytes of a request the native filter counts as text."""

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.filter import text_bytes

PICTURE_TOKENS = 1024
SCHEMA = {"type": "object", "properties": {f"field{number}": {"type": "string"} for number in range(500)}}


def chat(*parts: Any, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": list(parts)}], **more}).encode()


def data(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def picture(size: int, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data(size)}"}}


def audio(size: int) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data(size), "format": "wav"}}


def tokens(body: bytes) -> float:
    return text_bytes(body) / 4


def test_a_body_of_text_counts_whole() -> None:
    body = chat({"type": "text", "text": "How do I write data:image/png;base64, and input_audio? " * 200})
    assert len(body) == text_bytes(body)


@pytest.mark.parametrize("size", [15_000, 300_000, 3_000_000])
def test_a_picture_counts_by_a_bound_of_its_own(size: int) -> None:
    assert PICTURE_TOKENS < tokens(chat(picture(size))) < PICTURE_TOKENS + 60


def test_a_small_picture_counts_by_its_bytes() -> None:
    body = chat(picture(1500))
    assert len(body) == text_bytes(body)


def test_each_picture_counts() -> None:
    assert 3 * PICTURE_TOKENS < tokens(chat(*[picture(40_000)] * 3)) < 3 * PICTURE_TOKENS + 150


def test_slashes_may_be_escaped() -> None:
    body = chat(picture(40_000)).replace(b"/", b"\\/")
    assert PICTURE_TOKENS < tokens(body) < PICTURE_TOKENS + 60


@pytest.mark.parametrize("part", [audio(320_000), picture(320_000, "audio/wav"), picture(320_000, "video/mp4")])
def test_audio_and_video_count_by_their_length(part: dict[str, Any]) -> None:
    """Ten seconds of 16 kHz."""
    assert 1600 < tokens(chat(part)) < 1800


@pytest.mark.parametrize(
    "rules",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
        {"guided_json": SCHEMA},
        {"grammar": "root ::= [a-z]+ " * 500},
    ],
)
def test_a_schema_or_a_grammar_is_no_text(rules: dict[str, Any]) -> None:
    body = chat({"type": "text", "text": "x" * 1000}, **rules)
    assert len(body) > 5000
    assert 1000 < text_bytes(body) < 1200


def test_tools_are_text() -> None:
    body = chat(tools=[{"type": "function", "function": {"name": "a", "parameters": SCHEMA}}])
    assert len(body) == text_bytes(body)


def test_a_data_url_in_a_text_is_text() -> None:
    url = picture(40_000)["image_url"]["url"]
    body = chat({"type": "text", "text": url})
    assert len(body) == text_bytes(body)
    body = chat({"type": "text", "text": f'"url":"{url}"'})
    assert len(body) == text_bytes(body)


@pytest.mark.parametrize("piece", ['";base64,', '"url":"data:image/png;base64,"', '"input_audio":{"data":"a', ";", "_"])
def test_looking_for_media_takes_little_time(piece: str) -> None:
    size = 1 << 20
    body = json.dumps({"model": "m", "prompt": [piece] * (size // (len(piece) + 4))}).encode()
    text_bytes(body)
    started = time.process_time()
    text_bytes(body)
    assert time.process_time() - started < 0.2


@given(st.lists(st.sampled_from([picture(5000), audio(9000), picture(90_000, "video/mp4"), {"text": "a" * 900}])))
def test_text_is_never_less_than_a_byte_nor_more_than_the_body(parts: list[dict[str, Any]]) -> None:
    body = chat(*parts)
    assert 1 <= text_bytes(body) <= len(body)
