"""Answers: usage, delivered events, and removal of the usage event."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.answers import SAMPLE_USAGE, cuts
from arks.endpoint_router.testing.filter import Meter


def event(payload: dict[str, Any], separators: tuple[str, str] = (",", ":"), newline: bytes = b"\n") -> bytes:
    return b"data: " + json.dumps(payload, separators=separators).encode() + newline * 2


def delta(**fields: Any) -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def usage_event(**more: Any) -> dict[str, Any]:
    return {"id": "x", "choices": [], "usage": SAMPLE_USAGE, **more}


ROLE = event(delta(role="assistant", content=None))
HELLO = event(delta(content='Hel"usage":{lo\n\n'))
FINISH = event({"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
USAGE = event(usage_event())
DONE = b"data: [DONE]\n\n"


def cut_in_two(text: bytes) -> list[list[bytes]]:
    return [[text[:at], text[at:]] for at in range(len(text) + 1)]


def test_the_usage_event_is_cut_wherever_chunks_end() -> None:
    for chunks in [*cut_in_two(ROLE + HELLO + FINISH + USAGE + DONE), [ROLE, HELLO, FINISH, USAGE, DONE]]:
        meter = Meter(stream=True, cut=True)
        assert ROLE + HELLO + FINISH + DONE == meter.follow(chunks)
        assert meter.usage == "e,12,3"


def test_the_usage_event_is_cut_from_streams_with_carriage_returns() -> None:
    text = (ROLE + HELLO + FINISH + USAGE + DONE).replace(b"\n", b"\r\n")
    for chunks in cut_in_two(text):
        meter = Meter(stream=True, cut=True)
        assert (ROLE + HELLO + FINISH + DONE).replace(b"\n", b"\r\n") == meter.follow(chunks)
        assert meter.usage == "e,12,3"


def test_a_usage_event_over_the_size_limit_is_passed_unchanged() -> None:
    long = event(usage_event(timings=["x" * 5000]))
    meter = Meter(stream=True, cut=True)
    assert HELLO + long + DONE == meter.follow([HELLO, long[:5000], long[5000:] + DONE])
    assert meter.usage == "e,12,3"


def test_one_byte_a_chunk_changes_nothing() -> None:
    text = ROLE + HELLO + FINISH + USAGE + DONE
    meter = Meter(stream=True, cut=True)
    assert ROLE + HELLO + FINISH + DONE == meter.follow([text[at : at + 1] for at in range(len(text))])
    assert meter.usage == "e,12,3"


def test_a_client_that_requested_usage_gets_every_chunk_unchanged() -> None:
    for chunks in cut_in_two(ROLE + HELLO + FINISH + USAGE + DONE):
        meter = Meter(stream=True)
        assert chunks == [meter.feed(chunk) for chunk in chunks]
        assert meter.usage == "e,12,3"


PAYLOADS = st.sampled_from(
    [
        delta(role="assistant", content=""),
        delta(content="a"),
        {**delta(content="b"), "usage": None},
        delta(reasoning_content="c"),
        delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}]),
        {"choices": [{"index": 0, "text": "d", "logprobs": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": None, "prompt_filter_results": []},
        {"error": {"message": '"choices":[],"usage":{}'}},
        {"usage": SAMPLE_USAGE, "choices": []},
        usage_event(timings={"prompt_n": 1}),
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[bytes, dict[str, Any] | None]], list[bytes]]:
    """Return events with their payloads (None for comments), and their text in pieces."""
    newline = draw(st.sampled_from([b"\n", b"\r\n"]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    events: list[tuple[bytes, dict[str, Any] | None]] = []
    for payload in draw(st.lists(st.none() | PAYLOADS, max_size=8)):
        comment = b": keep-alive" + newline * 2
        events.append((comment if payload is None else event(payload, separators, newline), payload))
    events.append((b"data: [DONE]" + newline * 2, None))
    return events, draw(cuts(b"".join(text for text, _ in events)))


def is_usage_event(payload: dict[str, Any] | None) -> bool:
    return payload is not None and payload.get("choices") == [] and bool(payload.get("usage"))


def carries_content(payload: dict[str, Any] | None) -> bool:
    choices = (payload or {}).get("choices") or [{}]
    fields = {**choices[0], **choices[0].get("delta", {})}
    return any(fields.get(name) for name in ("content", "reasoning_content", "tool_calls", "text"))


@given(streams())
def test_any_stream_in_any_pieces_loses_only_its_usage_events(
    sample: tuple[list[tuple[bytes, dict[str, Any] | None]], list[bytes]],
) -> None:
    events, chunks = sample
    meter = Meter(stream=True, cut=True)
    assert b"".join(text for text, payload in events if not is_usage_event(payload)) == meter.follow(chunks)
    delivered = sum(carries_content(payload) for _, payload in events)
    reported = any(is_usage_event(payload) for _, payload in events)
    assert meter.usage == ("e,12,3" if reported else f"d,{delivered}" if delivered else None)


@given(streams())
def test_an_event_that_cannot_be_the_usage_event_is_not_held_back(
    sample: tuple[list[tuple[bytes, dict[str, Any] | None]], list[bytes]],
) -> None:
    _, chunks = sample
    meter, arrived, sent = Meter(stream=True, cut=True), b"", b""
    for chunk in chunks:
        arrived, sent = arrived + chunk, sent + meter.feed(chunk)
        waiting = arrived.replace(b"\r", b"").rpartition(b"\n\n")[2]
        if b'"choices":[{' in waiting.replace(b" ", b"") or waiting[:1] == b":" or b"[DONE" in waiting:
            assert arrived.endswith(sent[-len(waiting) :])


def test_content_that_has_begun_is_passed_before_its_event_ends() -> None:
    meter = Meter(stream=True, cut=True)
    begun = b'data: {"id":"x","choices":[{"delta":{"content":"Hel'
    assert (b"", begun) == (meter.feed(begun[:20]), meter.feed(begun[20:]))
    assert meter.feed(b'lo"}}]}\n\n') == b'lo"}}]}\n\n'


def test_a_chunk_without_a_usage_event_is_not_touched() -> None:
    meter = Meter(stream=True, cut=True)
    assert meter.change(ROLE + HELLO) is None


@pytest.mark.parametrize("separators", [(",", ":"), (" , ", " : ")])
def test_usage_in_the_last_content_chunk_counts_and_the_content_stays(separators: tuple[str, str]) -> None:
    bye = delta(content="bye")
    for last in (
        {**bye, "usage": SAMPLE_USAGE},
        {"usage": SAMPLE_USAGE, **bye},
        {"usage": SAMPLE_USAGE, "choices": [1]},
    ):
        meter = Meter(stream=True, cut=True)
        sent = meter.follow([HELLO, event(last, separators) + DONE])
        assert sent.startswith(HELLO) and sent.endswith(DONE)
        rest = json.loads(sent[len(HELLO) : -len(DONE)].removeprefix(b"data:"))
        assert rest == {name: value for name, value in last.items() if name != "usage"}
        assert meter.usage == "e,12,3"


def test_a_client_that_requested_usage_keeps_it_in_the_last_choice() -> None:
    last = event({**delta(content="bye"), "usage": SAMPLE_USAGE})
    assert HELLO + last + DONE == Meter(stream=True).follow([HELLO, last + DONE])


def test_usage_below_the_top_level_does_not_count() -> None:
    echoed = event({"choices": [], "metadata": {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}, "usage": None})
    own = event({**delta(content="usage"), "usage": SAMPLE_USAGE})
    meter = Meter(stream=True, cut=True)
    assert echoed == meter.feed(echoed)
    assert meter.usage is None
    assert event(delta(content="usage")) == meter.feed(own)
    assert meter.usage == "e,12,3"


def test_running_usage_is_known_after_each_chunk() -> None:
    meter, known = Meter(stream=True), []
    for tokens in (1, 2):
        meter.feed(event({**delta(content="a"), "usage": {"prompt_tokens": 5, "completion_tokens": tokens}}))
        known.append(meter.usage)
    assert known == ["e,5,1", "e,5,2"]


def test_delivered_events_are_counted_after_each_chunk() -> None:
    meter, known = Meter(stream=True, cut=True), []
    for chunk in (ROLE, HELLO, HELLO + HELLO, HELLO[:30], HELLO[30:], FINISH):
        meter.feed(chunk)
        known.append(meter.usage)
    assert known == [None, "d,1", "d,3", "d,3", "d,4", "d,4"]


def test_a_usage_event_without_its_empty_line_counts_at_the_end() -> None:
    meter = Meter(stream=True, cut=True)
    assert HELLO == meter.follow([HELLO + USAGE.rstrip()])
    assert meter.usage == "e,12,3"


def test_what_the_engine_counted_stays_when_the_stream_ends_within_another_event() -> None:
    meter = Meter(stream=True)
    meter.follow([HELLO, USAGE, HELLO.rstrip(b"\n")])
    assert meter.usage == "e,12,3"


def test_an_event_over_the_buffer_size_is_passed_and_counted_once() -> None:
    big = event(delta(content="x" * 3_000_000))
    meter = Meter(stream=True, cut=True)
    chunks = [big[at : at + 65536] for at in range(0, len(big), 65536)]
    assert big + DONE == meter.follow([*chunks, USAGE, DONE])
    assert meter.usage == "e,12,3"
    meter = Meter(stream=True, cut=True)
    meter.follow([*chunks, HELLO])
    assert meter.usage == "d,2"


def test_a_part_of_a_long_event_costs_the_same_wherever_it_is_in_it() -> None:
    """Searching from the event's start in each part makes the last quarter take five times the first one's time."""
    begun, size = b'data: {"choices":[{"delta":{"content":"' + b"x" * 960_000, 240_000
    meter, seconds = Meter(stream=True, cut=True), []
    for quarter in (begun[at : at + size] for at in range(0, 4 * size, size)):
        started = time.process_time()
        assert quarter == b"".join([meter.feed(quarter[at : at + 16]) for at in range(0, size, 16)])[-size:]
        seconds.append(time.process_time() - started)
    assert seconds[3] < 3 * seconds[0]


def test_a_count_that_is_too_large_is_not_charged_as_none() -> None:
    meter = Meter(stream=True)
    meter.follow([event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 10**30}})])
    assert meter.usage == f"e,1,{2**64 - 1}"


# --- several answers in one stream


def token(index: int, text: str = "a", usage: tuple[int, int] | None = None) -> bytes:
    """An event of one answer, with the usage of its prompt and of its tokens so far."""
    return event({"choices": [{"index": index, "text": text}], **usage_of(usage)})


def alone(prompt: int, completion: int) -> bytes:
    return event({"choices": [], **usage_of((prompt, completion))})


def usage_of(usage: tuple[int, int] | None) -> dict[str, Any]:
    return {} if usage is None else {"usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}}


SEVERAL = {
    "llama.cpp reports each answer of a chat alone": (2, [token(0), token(1), alone(31, 3), alone(31, 4)], "e,31,7"),
    "llama.cpp reports each answer of a completion with its index": (
        2,
        [token(1), token(0), token(1, "", (2, 3)), token(0, "", (2, 5))],
        "e,2,8",
    ),
    "llama.cpp reports the prompts of a list": (1, [token(0, "", (2, 3)), token(1, "", (4, 3))], "e,6,6"),
    "vLLM reports the total": (2, [token(0), token(1), alone(12, 9)], "e,12,9"),
    "vLLM counts up in each answer, then reports the total": (
        2,
        [token(0, "a", (12, 1)), token(1, "a", (12, 1)), token(0, "b", (12, 4)), token(1, "b", (12, 5)), alone(12, 9)],
        "e,12,9",
    ),
    "the client leaves after the end of the first answer": (2, [token(0), alone(31, 1), *[token(1)] * 5], "e,31,6"),
    "no usage is reported": (2, [token(0), token(1), token(1)], "d,3"),
    "nothing is generated": (2, [token(0, "")], None),
}


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("name", SEVERAL)
def test_every_answer_of_a_stream_is_charged(name: str, cut: bool) -> None:
    copies, events, usage = SEVERAL[name]
    for chunks in (events, [b"".join(events)], [bytes([each]) for each in b"".join(events)]):
        meter = Meter(stream=True, cut=cut, copies=copies)
        meter.follow(chunks)
        assert usage == meter.usage
