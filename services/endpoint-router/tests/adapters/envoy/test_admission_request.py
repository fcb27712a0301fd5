"""The native filter's reader of requests, compared with Python's json."""

import json
import string
import time
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from arks.endpoint_router.testing.filter import expected, is_rejected, read, refusal
from arks.endpoint_router.testing.native import call

ASCII = st.text(
    st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters='"\\'), min_size=1, max_size=40
)
KEYS = st.sampled_from(["messages", "tools", "temperature", "stop", "user", "metadata", "prompt"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OPTIONAL = {
    "stream": st.booleans() | st.none(),
    "max_tokens": st.integers(0, 10_000_000) | st.none(),
    "max_completion_tokens": st.integers(0, 10_000_000) | st.none(),
    "n": st.integers(1, 128) | st.none(),
    "n_cmpl": st.integers(1, 128) | st.none(),
    "best_of": st.integers(1, 128) | st.none(),
    "prompt": VALUES,
    "stream_options": st.none() | st.fixed_dictionaries({}, optional={"include_usage": st.booleans(), "x": VALUES}),
}
WANTED = st.fixed_dictionaries({"model": ASCII}, optional=OPTIONAL)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    members = [*draw(WANTED).items(), *draw(st.dictionaries(KEYS, VALUES, max_size=4)).items()]
    document = dict(draw(st.permutations(members)))
    assume(not is_rejected(document))
    return document


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    text = json.dumps(
        draw(documents()),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 0, 2])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\r\n:")])),
    )
    return text.encode("utf-8", "surrogatepass")


def canonical(document: object) -> str:
    """Return a value that is equal for equal documents, also with NaN in them."""
    return json.dumps(document, sort_keys=True)


@given(bodies())
def test_the_filter_reads_what_a_json_parser_reads(body: bytes) -> None:
    request = read(body)
    assert request is not None
    request.pop("body", None)
    assert expected(json.loads(body)) == request


@given(bodies())
def test_a_stream_gets_a_request_for_usage_and_no_other_change(body: bytes) -> None:
    document, request = json.loads(body), read(body)
    assert request is not None
    requested = (document.get("stream_options") or {}).get("include_usage") is True
    if not document.get("stream") or requested:
        assert "body" not in request
    else:
        options = {**(document.get("stream_options") or {}), "include_usage": True}
        rewritten = json.loads(request["body"])
        assert canonical({**document, "stream_options": options}) == canonical(rewritten)


SPLINTERS = st.sampled_from(
    [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"/", b"'", b"\x00", b"\xef\xbb\xbf", b" "]
)


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(bodies()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 2))] = draw(SPLINTERS | st.binary(max_size=2))
    return bytes(body)


@given(damaged_bodies())
@example(b'{"model":"a","x":[{"]":1}],"stream":true}')
@example(b'{"model":"a","x":1"},"model":"b"}')
def test_a_damaged_body_is_rejected_or_read_as_a_json_parser_reads_it(body: bytes) -> None:
    request = read(body)
    if request is None:
        return
    try:
        document = json.loads(body)
    except ValueError:
        return  # the engine rejects it
    request.pop("body", None)
    assert expected(document) == request


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"null", b"[]", b'"x"', b"1", b"{", b'{"model":"m"', b'{"model":"m",}', b"{,}", b'{"model" "m"}'),
        b'{"model":"m"} x',
        b'{"model":"m"}{"model":"m"}',
        b'\xef\xbb\xbf{"model":"m"}',
        '{"model":"m"}'.encode("utf-16"),
        b'{"model":"m","x":[}',
        b'{"model":"m","x":[{]}}',
        b'{"model":"m","x":{/* " */"a":1}}',
        b'{"model":"m","x":{\'a\':1}}',
        b'{"model":"m","x":1"y"}',
        b'{"model":"m","x":"a\x00b"}',
        b'{"model":"m","x":' + b"[" * 201 + b"]" * 201 + b"}",
        b'{"model":"m"' + b',"x":1' * 1000 + b"}",
        b'{"model":"m",\x0b"x":1}',
        b'{model:"m"}',
        b'{"mod\\u0065l":"m"}',
        '{"model":"m","\u017ftream":true}'.encode(),
    ],
)
def test_a_body_that_is_no_plain_json_object_is_rejected(body: bytes) -> None:
    assert refusal(body)["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "model"),
        (b'{"model":null}', "model"),
        (b'{"model":1}', "model"),
        (b'{"model":["m"]}', "model"),
        (b'{"model":""}', "model"),
        (b'{"model":"a\\u0062"}', "model"),
        (b'{"model":"a\tb"}', "model"),
        (b'{"model":"%s"}' % (b"a" * 257), "model"),
        (b'{"model":"m","model":"m"}', "model"),
        (b'{"model":"m","Model":"m"}', "model"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","stream":"true"}', "stream"),
        (b'{"model":"m","stream":true,"stream":false}', "stream"),
        (b'{"model":"m","stream":true,"Stream":false}', "stream"),
        (b'{"model":"m","stream":true,"stream_options":[]}', "stream_options"),
        (b'{"model":"m","stream":true,"stream_options":true}', "stream_options"),
        (b'{"model":"m","stream":true,"streamOptions":{}}', "stream_options"),
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":1}}', "stream_options"),
        (
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}',
            "stream_options",
        ),
        (b'{"model":"m","stream":true,"stream_options":{"include\\u005fusage":false}}', "stream_options"),
        *((b'{"model":"m","max_tokens":%s}' % bad, "max_tokens") for bad in (b"-1", b"1.5", b"1e3", b'"1"', b"[1]")),
        (b'{"model":"m","max_tokens":10000001}', "max_tokens"),
        (b'{"model":"m","max_tokens":1' + b"0" * 400 + b"}", "max_tokens"),
        (b'{"model":"m","max_tokens":01}', "max_tokens"),
        (b'{"model":"m","MAX_TOKENS":1}', "max_tokens"),
        (b'{"model":"m","max-tokens":1}', "max_tokens"),
        (b'{"model":"m","max_completion_tokens":true}', "max_completion_tokens"),
        (b'{"model":"m","maxCompletionTokens":1}', "max_completion_tokens"),
        (b'{"model":"m","n_predict":-1}', "n_predict"),
        (b'{"model":"m","n":0}', "n"),
        (b'{"model":"m","n":129}', "n"),
        (b'{"model":"m","n":1.0}', "n"),
    ],
)
def test_a_rejection_names_the_parameter(body: bytes, param: str) -> None:
    error = refusal(body)
    assert (param, "invalid_request_error") == (error["param"], error["type"])


def test_usage_is_requested_even_if_the_client_declines_it() -> None:
    request = read(b'{"model":"m","stream":true,"stream_options":{"x":"include_usage","include_usage": false }}')
    assert request is not None
    assert (
        b'{"model":"m","stream":true,"stream_options":{"x":"include_usage","include_usage": true }}' == request["body"]
    )


def test_the_largest_of_several_limits_counts() -> None:
    assert {"model": b"m", "stream": False, "max_tokens": 9} == read(b'{"model":"m","max_tokens":1,"n_predict":9}')


@pytest.mark.parametrize("limits", [b'"max_tokens":0', b'"max_tokens":9,"max_completion_tokens":0', b'"n_predict":0'])
def test_a_limit_of_zero_is_no_limit(limits: bytes) -> None:
    assert {"model": b"m", "stream": False} == read(b'{"model":"m",%s}' % limits)


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (b'"n":4', 4),
        (b'"n":2,"best_of":5', 5),
        (b'"n_cmpl":3', 3),
        (b'"prompt":"a"', None),
        (b'"prompt":["a"]', None),
        (b'"prompt":["a", "b,[" ,"c"],"n":2', 6),
        (b'"prompt":[1,2,3]', None),
        (b'"prompt":[[1,2],[3]]', 2),
    ],
)
def test_every_answer_that_an_engine_makes_is_counted(options: bytes, answers: int | None) -> None:
    assert answers == (read(b'{"model":"m",%s}' % options) or {}).get("answers")


@given(st.binary(max_size=60))
def test_percent_encoding_gives_visible_ascii_and_can_be_undone(raw: bytes) -> None:
    (encoded,) = call("percent_encode", raw)
    assert encoded is not None
    assert set(encoded) <= set(string.printable.encode()) - set(string.whitespace.encode())
    assert raw == unquote_to_bytes(encoded)


MEGABYTE = 1 << 20


def seconds_to_read(body: bytes) -> float:
    """Return the processor's time, the least of three readings, so that other work beside the test does not count."""
    times = []
    for _ in range(3):
        began = time.process_time()
        read(body)
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [
        (b'"', b'\\"', b'"'),
        (b'"', b"\\", b'"'),
        (b'"', b"\\\\a", b'"'),
        (b"[", b'"",', b"1]"),
        (b"[", b"[],", b"1]"),
        (b"", b" ", b"1"),
        (b'"', b"\\", b""),
    ],
)
def test_the_time_to_read_a_body_grows_with_its_length_only(start: bytes, piece: bytes, end: bytes) -> None:
    def seconds(size: int) -> float:
        return seconds_to_read(b'{"model":"m","x":' + start + piece * (size // len(piece) // 2 * 2) + end + b"}")

    assert seconds(4 * MEGABYTE) < 16 * max(seconds(MEGABYTE), 0.001)
    assert seconds(MEGABYTE) < 0.5


SCHEMA = b'"response_format":{"json_schema":{"strict":true,"schema":%b}}'


@pytest.mark.parametrize(
    ("member", "start", "end"),
    [
        (b'"x":%b', b'{"input_audio":', b',"Data":1}'),
        (SCHEMA, b'{"not":', b"}"),
        (SCHEMA, b'{"not":', b",:}"),
        (SCHEMA, b'{"anyOf":[', b"]}"),
        (SCHEMA, b'{"properties":{"a":', b"}}"),
    ],
)
def test_what_is_nested_deep_is_not_read_again_at_each_level(member: bytes, start: bytes, end: bytes) -> None:
    def seconds(depth: int) -> float:
        nested = start * depth + b" " * 4 * MEGABYTE + b"1" + end * depth
        return seconds_to_read(b'{"model":"m",' + member % nested + b"}")

    assert seconds(90) < 6 * max(seconds(1), 0.001)


@pytest.mark.parametrize(
    "key",
    [
        "bootstrap_host",
        "kv_transfer_params",
        "priority",
        "chat_template",
        "id_slot",
        "nvext",
        "response_fields",
        "session_id",
    ],
)
def test_a_key_that_steers_an_engine_is_rejected_by_name(key: str) -> None:
    error = refusal(b'{"model":"m","%s":{"a":1}}' % key.encode())
    assert (key, "unsupported_parameter") == (error["param"], error["code"])
    assert read(b'{"model":"m","%s":null}' % key.encode()) is not None


@pytest.mark.parametrize("key", ["Priority", "RID", "Echo", "meta-data"])
def test_a_key_in_a_spelling_that_a_lenient_parser_accepts_is_rejected(key: str) -> None:
    error = refusal(b'{"model":"m","%s":null}' % key.encode())
    assert (key.lower().replace("-", ""), "misspelled_key") == (error["param"], error["code"])


def test_a_refused_key_that_occurs_twice_is_rejected() -> None:
    assert "duplicate_key" == refusal(b'{"model":"m","priority":null,"priority":null}')["code"]


EMPTY = [
    '""',
    "[]",
    '[""]',
    '["a",""]',
    '["", "a"]',
    "[[]]",
    "[ [ ], [2]]",
    '[{"prompt_string": ""}]',
    '{"prompt_string":""}',
]


@pytest.mark.parametrize("prompt", EMPTY)
def test_an_empty_prompt_is_rejected(prompt: str) -> None:
    """It ends SGLang 0.4 for all clients; llama.cpp never ends copies of it, and their slot is lost."""
    for copies in ("", ',"n":2', ',"best_of":3', ',"n_cmpl":2'):
        error = refusal(f'{{"model":"m","prompt":{prompt}{copies}}}'.encode())
        assert ("prompt", "invalid_value") == (error["param"], error["code"])


@pytest.mark.parametrize(
    "prompt", ['"[]"', '["[]", "\\"\\""]', "[1, 2]", '["[[]", "a"]', '[{"prompt_string":"\\"\\""}]']
)
def test_a_prompt_that_is_not_empty_passes(prompt: str) -> None:
    assert read(f'{{"model":"m","prompt":{prompt},"n":2}}'.encode()) is not None


def test_each_prompt_as_an_object_is_an_answer() -> None:
    request = read(b'{"model":"m","prompt":[{"prompt_string":"a"},{"prompt_string":"b"},"c",[1]],"max_tokens":8}')
    assert request is not None
    assert 4 == request["answers"]


@pytest.mark.parametrize("options", ["{}", '{"include_usage":true}', "3"])
def test_options_of_a_stream_need_a_stream(options: str) -> None:
    assert "stream_options" == refusal(f'{{"model":"m","stream_options":{options}}}'.encode())["param"]
    assert read(b'{"model":"m","stream_options":null}') is not None


def test_logprobs_of_completions_are_at_most_20() -> None:
    for value in (b"0", b"20", b"true", b"false", b"null"):
        assert read(b'{"model":"m","prompt":"a","logprobs":%s}' % value) is not None
    for value in (b"21", b"1000000", b"-1", b"1.5", b'"5"', b"[]"):
        assert "logprobs" == refusal(b'{"model":"m","prompt":"a","logprobs":%s}' % value)["param"]


def test_top_logprobs_are_at_most_20_and_need_logprobs() -> None:
    assert read(b'{"model":"m","logprobs":true,"top_logprobs":20}') is not None
    assert read(b'{"model":"m","top_logprobs":null}') is not None
    for value in (b'21,"logprobs":true', b'-1,"logprobs":true', b'"a","logprobs":true', b"1", b'1,"logprobs":null'):
        assert "top_logprobs" == refusal(b'{"model":"m","top_logprobs":%s}' % value)["param"]


@pytest.mark.parametrize("key", ["messages", "input"])
def test_an_empty_list_of_messages_or_inputs_is_rejected(key: str) -> None:
    for value in (b"[]", b"[ \n]", b'""'):
        assert key == refusal(b'{"model":"m","%s":%s}' % (key.encode(), value))["param"]
    for value in (b"[0]", b'["a"]', b'[{"role":"user","content":""}]', b"null", b'"a"'):
        assert read(b'{"model":"m","%s":%s}' % (key.encode(), value)) is not None


def test_a_choice_of_tools_needs_tools() -> None:
    for choice in ('"required"', '{"type":"function","function":{"name":"f"}}'):
        for tools in ("", ',"tools":null', ',"tools":[ ]'):
            assert "tool_choice" == refusal(f'{{"model":"m","tool_choice":{choice}{tools}}}'.encode())["param"]
        assert read(f'{{"model":"m","tool_choice":{choice},"tools":[{{}}]}}'.encode()) is not None
    for choice in ('"none"', '"auto"', "null"):
        assert read(f'{{"model":"m","tool_choice":{choice}}}'.encode()) is not None
