"""names.lua: another name of the model in requests, and back in answers. Runs in LuaJIT."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing import filter as filter_
from arks.endpoint_router.testing.answers import cuts

admission = filter_.load_admission()
OLD, NEW = "Qwen/Qwen2.5-7B-Instruct", "qwen"
TEXT = st.text() | st.sampled_from([f'"model":"{OLD}"', OLD, '"', '"model":"', f'{{"model": "{OLD}"}}'])


def renamed(chunks: list[bytes]) -> bytes:
    renaming = admission[b"new_renaming"](OLD.encode(), NEW.encode())
    return b"".join(bytes(renaming[b"feed"](renaming, chunk)) for chunk in chunks)


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
    renaming = admission[b"new_renaming"](OLD.encode(), NEW.encode())
    event = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
    assert event == renaming[b"feed"](renaming, event)
    assert b"data: {" == renaming[b"feed"](renaming, b'data: {"mod')


@pytest.mark.parametrize("body", [b'{"model":"qwen","n":1}', b' {"x":{"model":"a"}, "model" : "qwen" }'])
def test_the_engine_gets_its_own_name(body: bytes) -> None:
    changed = json.loads(admission[b"with_model"](body, OLD.encode()))
    assert json.loads(body) | {"model": OLD} == changed


@pytest.mark.parametrize("name", [b"", b'a"b', b"a b", b"a\\b", b"a\nb"])
def test_a_name_that_cannot_stand_in_a_body_is_none(name: bytes) -> None:
    assert None is admission[b"read_name"](name)
    assert OLD.encode() == admission[b"read_name"](OLD.encode())
