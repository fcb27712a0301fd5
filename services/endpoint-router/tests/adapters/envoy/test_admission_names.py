"""Another name of the model in requests, and back in answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.answers import cuts
from arks.endpoint_router.testing.native import call

OLD, NEW = "Qwen/Qwen2.5-7B-Instruct", "qwen"
TEXT = st.text() | st.sampled_from([f'"model":"{OLD}"', OLD, '"', '"model":"', f'{{"model": "{OLD}"}}'])


class Renaming:
    """The filter's state for one answer."""

    def __init__(self) -> None:
        (self._number,) = call("renaming_new", OLD.encode(), NEW.encode())

    def feed(self, chunk: bytes) -> bytes:
        (renamed,) = call("renaming_feed", self._number, chunk)
        assert renamed is not None
        return renamed

    @property
    def rest(self) -> bytes:
        (rest,) = call("renaming_rest", self._number)
        return rest or b""


def renamed(chunks: list[bytes]) -> bytes:
    renaming = Renaming()
    return b"".join(renaming.feed(chunk) for chunk in chunks) + renaming.rest


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes, list[bytes]]:
    """Return events, their text, and that in pieces."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    texts = draw(st.lists(TEXT, max_size=3))
    events = [{"model": draw(st.sampled_from([OLD, "other"])), "choices": [{"text": text}]} for text in texts]
    ascii_only = draw(st.booleans())
    lines = [json.dumps(each, separators=separators, ensure_ascii=ascii_only) for each in events]
    body = "".join(f"data: {line}\n\n" for line in lines).encode("utf-8", "surrogatepass")
    return events, body, draw(cuts(body))


@given(answers())
def test_the_model_is_renamed_in_every_event_and_nowhere_else(
    sample: tuple[list[dict[str, Any]], bytes, list[bytes]],
) -> None:
    events, _, chunks = sample
    found = [json.loads(line[6:]) for line in renamed(chunks).split(b"\n\n") if line]
    assert [each | {"model": NEW if each["model"] == OLD else each["model"]} for each in events] == found


def test_every_cut_of_an_answer_gives_the_same() -> None:
    body = json.dumps({"id": "x", "model": OLD, "choices": []}).encode()
    for at in range(len(body) + 1):
        assert {"id": "x", "model": NEW, "choices": []} == json.loads(renamed([body[:at], body[at:]]))


def test_only_what_may_be_the_name_waits_for_the_next_chunk() -> None:
    renaming = Renaming()
    event = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
    assert event == renaming.feed(event)
    assert b"data: {" == renaming.feed(b'data: {"mod')


def test_an_answer_that_breaks_off_in_a_name_loses_nothing() -> None:
    assert b'data: {"mod' == renamed([b'data: {"mod'])


@pytest.mark.parametrize("body", [b'{"model":"qwen","n":1}', b' {"x":{"model":"a"}, "model" : "qwen" }'])
def test_the_engine_gets_its_own_name(body: bytes) -> None:
    (changed,) = call("with_model", body, OLD.encode())
    assert changed is not None
    assert json.loads(body) | {"model": OLD} == json.loads(changed)


@pytest.mark.parametrize("name", [b"", b'a"b', b"a b", b"a\\b", b"a\nb"])
def test_a_name_that_cannot_stand_in_a_body_is_none(name: bytes) -> None:
    assert [None] == call("is_plain_name", name)
    assert [b"1"] == call("is_plain_name", OLD.encode())
