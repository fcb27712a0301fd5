"""Answers in JSON that are joined from streams, and the requests for these streams."""

import json
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.dialects import DIALECTS, DONE, PROMPT, Work, event
from arks.endpoint_router.testing.native import call

CHUNK = {"id": "chatcmpl-x", "created": 1, "model": "m", "object": "chat.completion.chunk"}
USAGE = {"prompt_tokens": 31, "completion_tokens": 2, "total_tokens": 33, "prompt_tokens_details": {"cached_tokens": 3}}
TIMINGS = {"predicted_n": 2, "predicted_ms": 12.5}
WORKS = [
    Work(dialect, is_chat, True, copies, prompts, 5)
    for dialect, is_chat, copies, prompts in product(DIALECTS, (True, False), (1, 3), (1, 3))
    if not (is_chat and prompts > 1)
]


def join(*parts: bytes, is_chat: bool = True, copies: int | None = None) -> tuple[int, dict[str, Any]]:
    """Return status and answer."""
    many = None if copies is None else str(copies).encode()
    status, answer = call("join", b"1" if is_chat else None, many, *parts)
    assert answer is not None
    return int(status or 200), json.loads(answer)


def delta(index: int = 0, finish_reason: str | None = None, **members: Any) -> bytes:
    return event(choices=[{"finish_reason": finish_reason, "index": index, "delta": members}], **CHUNK)


END = delta(finish_reason="stop")


def message(*deltas: bytes) -> dict[str, Any]:
    status, answer = join(*deltas, END, DONE)
    assert 200 == status
    (choice,) = answer["choices"]
    found: dict[str, Any] = choice["message"]
    return found


def test_the_answer_of_a_chat_has_all_that_its_events_have() -> None:
    events = [
        delta(role="assistant", content=None),
        delta(content='"a" \\ \n'),
        event(choices=[{"finish_reason": None, "index": 0, "delta": {"content": "\u00e9\U0001f600"}}], **CHUNK),
        delta(finish_reason="length"),
        event(choices=[], usage=USAGE, timings=TIMINGS, **CHUNK),
    ]
    assert (
        200,
        {
            "id": "chatcmpl-x",
            "created": 1,
            "model": "m",
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "length",
                    "message": {"role": "assistant", "content": '"a" \\ \n\u00e9\U0001f600'},
                }
            ],
            "usage": USAGE,
            "timings": TIMINGS,
        },
    ) == join(*events, DONE)


def test_an_end_without_its_empty_line_is_an_end() -> None:
    status, answer = join(delta(content="a"), END.rstrip(b"\n"))
    assert (200, "a") == (status, answer["choices"][0]["message"]["content"])


def test_calls_of_tools_are_joined_by_their_index() -> None:
    def part(index: int, arguments: str, **more: Any) -> bytes:
        function = {**({"name": more.pop("name")} if "name" in more else {}), "arguments": arguments}
        return delta(tool_calls=[{"index": index, **more, "function": function}])

    found = message(
        delta(role="assistant", content=None),
        part(0, "", id="a", type="function", name="weather"),
        part(0, '{"city":'),
        part(1, "{}", id="b", type="function", name="time"),
        part(0, '"Oslo"}'),
    )
    assert {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
            {"id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ],
    } == found


def test_reasoning_and_refusals_are_joined_as_content_is() -> None:
    parts = [delta(reasoning_content="a"), delta(reasoning_content="b"), delta(refusal="n"), delta(refusal="o")]
    assert {"role": "assistant", "reasoning_content": "ab", "refusal": "no", "content": ""} == message(*parts)


def test_an_answer_without_a_text_has_an_empty_one() -> None:
    assert {"role": "assistant", "content": ""} == message()


def test_lists_of_log_probabilities_are_joined() -> None:
    def part(*tokens: str) -> bytes:
        logprobs = {"content": [{"token": token, "top_logprobs": []} for token in tokens], "refusal": None}
        return event(choices=[{"index": 0, "finish_reason": None, "delta": {}, "logprobs": logprobs}], **CHUNK)

    _, answer = join(part("a"), part(), part("b", "c"), END, DONE)
    content = [{"token": token, "top_logprobs": []} for token in "abc"]
    assert {"content": content, "refusal": None} == answer["choices"][0]["logprobs"]


@pytest.mark.parametrize("work", WORKS, ids=str)
def test_every_answer_of_every_engine_is_there_and_is_counted(work: Work) -> None:
    copies = work.copies if work.answers > 1 else None
    status, answer = join(*work.parts(), is_chat=work.is_chat, copies=copies)
    if work.dialect != "llamacpp":  # their events, as they are here, name no reason to stop
        assert 502 == status
        return
    assert list(range(work.answers)) == [choice["index"] for choice in answer["choices"]]
    texts = [choice["message"]["content"] if work.is_chat else choice["text"] for choice in answer["choices"]]
    assert ["a" * work.tokens] * work.answers == texts
    usage = answer["usage"]
    assert (PROMPT * work.prompts, work.tokens * work.answers) == (usage["prompt_tokens"], usage["completion_tokens"])


@given(st.data())
def test_an_answer_does_not_depend_on_how_its_stream_arrives(data: st.DataObject) -> None:
    work = data.draw(st.sampled_from([work for work in WORKS if work.dialect == "llamacpp"]))
    separator = data.draw(st.sampled_from([b"\n\n", b"\r\n\r\n"]))
    text = b": a comment\n\n" + b"".join(work.parts()).replace(b"\n\n", separator)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    parts = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    whole = join(*work.parts(), is_chat=work.is_chat, copies=work.copies)
    assert whole == join(*parts, is_chat=work.is_chat, copies=work.copies)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(error={"code": 503, "message": "Loading"})], (503, "Loading")),
        ([delta(content="a"), event(error={"code": 500, "message": "no context"})], (500, "no context")),
        ([delta(content="a"), event(error={"message": "no code"}), DONE], (500, "no code")),
        ([delta(content="a"), b'error: {"code":400,"message":"old"}\n\n'], (400, "old")),
        ([delta(content="a"), event(error={"code": 200, "message": "not a status"})], (500, "not a status")),
    ],
    ids=["first", "in the middle", "without a code", "of an older version", "with another code"],
)
def test_an_error_in_a_stream_is_the_answer(events: list[bytes], expected: tuple[int, str]) -> None:
    status, answer = join(*events)
    assert expected == (status, answer["error"]["message"])


@pytest.mark.parametrize(
    "events",
    [[], [DONE], [delta(content="a")], [delta(content="a"), END, delta(1, content="b"), DONE], [b"data: {"], [b"{}"]],
    ids=["nothing", "no answer", "no end", "one of two without an end", "an event without an end", "no stream"],
)
def test_a_stream_that_ends_too_early_is_an_error(events: list[bytes]) -> None:
    status, answer = join(*events)
    assert (502, "The engine ended its answer too early.") == (status, answer["error"]["message"])


@pytest.mark.parametrize("excess", [0, 1])
def test_an_answer_of_more_than_32_mib_is_an_error_of_the_engine(excess: int) -> None:
    ends = [delta(content="a"), END]
    comments = b": \n" * 1_000_000
    sizes = [len(each) for each in (*ends, comments)]
    whole, rest = divmod(32 * 1024 * 1024 - sum(sizes[:2]), sizes[2])
    status, answer = join(*ends, *[comments] * whole, b":" * (rest + excess))
    assert (502 if excess else 200, bool(excess)) == (status, "error" in answer)


@pytest.mark.parametrize("options", [{}, {"stream_options": None}], ids=["absent", "null"])
@pytest.mark.parametrize("stream", [{}, {"stream": False}, {"stream": None}], ids=["absent", "false", "null"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_request_for_json_becomes_one_for_a_stream_with_usage(
    stream: dict[str, Any], options: dict[str, Any], order: int
) -> None:
    members = {"model": "m", **stream, "messages": [{"role": "user", "content": '"stream":false'}], **options}
    request = dict(list(members.items())[::order])
    (body,) = call("as_stream", json.dumps(request).encode() + b"\n")
    assert body is not None
    wanted = {**request, "stream": True, "stream_options": {"include_usage": True}}
    assert wanted == json.loads(body, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key is there twice"
    return dict(pairs)
