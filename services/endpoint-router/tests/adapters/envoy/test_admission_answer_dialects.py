"""Streams of every engine, with any number of answers, cut at any point: what is charged."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.filter import Meter

PROMPT = 31

Order = list[int]
"""The answers' indexes, an item for each token."""


def event(**payload: Any) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def usage(completion: int) -> dict[str, Any]:
    return {"prompt_tokens": PROMPT, "completion_tokens": completion, "total_tokens": PROMPT + completion}


def chat(index: int, text: str = "a", **more: Any) -> bytes:
    return event(choices=[{"index": index, "delta": {"content": text} if text else {}}], **more)


def total_at_the_end(order: Order) -> list[bytes]:
    """vLLM and SGLang."""
    return [*(chat(index) for index in order), event(choices=[], usage=usage(len(order)))]


def counting_up(order: Order) -> list[bytes]:
    """vLLM and SGLang with `continuous_usage_stats`: each event has the tokens of its answer so far."""
    so_far = [order[: at + 1].count(index) for at, index in enumerate(order)]
    events = [chat(index, usage=usage(count)) for index, count in zip(order, so_far, strict=True)]
    return [*events, event(choices=[], usage=usage(len(order)))]


def each_answer_alone(order: Order) -> list[bytes]:
    """A chat of llama.cpp: an event without choices after each answer."""
    events = []
    for at, index in enumerate(order):
        events.append(chat(index))
        if index not in order[at + 1 :]:
            events += [chat(index, ""), event(choices=[], usage=usage(order.count(index)))]
    return events


def in_the_last_event(order: Order) -> list[bytes]:
    """Completions of llama.cpp: the last event of each answer."""
    events = []
    for at, index in enumerate(order):
        events.append(event(choices=[{"index": index, "text": "a"}]))
        if index not in order[at + 1 :]:
            events.append(event(choices=[{"index": index, "text": ""}], usage=usage(order.count(index))))
    return events


DIALECTS: list[Callable[[Order], list[bytes]]] = [
    total_at_the_end,
    counting_up,
    each_answer_alone,
    in_the_last_event,
]


def orders(answers: int) -> st.SearchStrategy[Order]:
    """Each answer has at least a token."""
    more = st.lists(st.integers(0, answers - 1), max_size=8)
    return more.flatmap(lambda indexes: st.permutations([*range(answers), *indexes]))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
@given(order=st.integers(1, 4).flatmap(orders), cut_after=st.none() | st.integers(0, 20))
def test_a_stream_is_charged_what_was_made_and_never_less_than_delivered(
    dialect: Callable[[Order], list[bytes]], cut: bool, order: Order, cut_after: int | None
) -> None:
    answers, events = len(set(order)), dialect(order)
    meter = Meter(stream=True, cut=cut, copies=answers if answers > 1 else None)
    meter.follow(events[:cut_after])
    if cut_after is None:
        assert meter.usage == f"e,{PROMPT},{len(order)}"
        return
    delivered = sum(b'"a"' in each for each in events[:cut_after])
    kind, *numbers = (meter.usage or "d,0").split(",")
    assert delivered <= int(numbers[-1]) <= len(order)
    assert (kind == "d") == (len(numbers) == 1)
    assert kind == "d" or int(numbers[0]) == PROMPT
