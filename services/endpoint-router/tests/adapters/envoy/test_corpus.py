"""Bodies and streams of the corpora, and what fuzzing makes of them, in the filter's readers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.answers import cuts
from arks.endpoint_router.testing.filter import Meter, expected, read, refusal
from arks.endpoint_router.testing.native import call
from arks.kit.testing.corpus import changed, corpus

CORPUS = Path(__file__).parents[2] / "corpus"
BODIES, STREAMS = corpus(CORPUS / "bodies"), corpus(CORPUS / "streams")
METERED = {
    "with-usage.txt": "e,12,3",
    "without-usage.txt": "d,1",
    "carriage-returns.txt": "e,12,3",
    "comments.txt": "e,12,3",
    "cumulative-usage.txt": "e,5,2",
    "two-usages.txt": "e,12,3",
    "error-in-the-middle.txt": "d,1",
    "cut-in-an-event.txt": None,
    "named-event.txt": "e,12,3",
    "spaces.txt": "e,12,3",
    "nothing.txt": None,
    "no-stream.txt": "e,12,3",
}
"""Stream -> the usage that is charged."""


def is_json(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_the_corpus_is_read_or_refused_as_its_name_promises(name: str) -> None:
    assert name.split("-", maxsplit=1)[0] == ("refused" if read(BODIES[name]) is None else "accepted")


@given(changed(list(BODIES.values())))
def test_no_body_made_of_the_corpus_is_read_otherwise_than_a_json_parser_reads_it(body: bytes) -> None:
    request = read(body)
    if request is None:
        assert {"message", "type", "param", "code"} == refusal(body).keys()
    elif is_json(body):
        # What an engine drops or refuses is listed beside the values that are compared.
        kept = {name: value for name, value in request.items() if name not in ("body", "uses")}
        assert {name: value for name, value in expected(json.loads(body)).items() if name != "uses"} == kept


def metered(*chunks: bytes) -> tuple[bytes, str | None]:
    meter = Meter(stream=True, cut=True)
    return meter.follow(chunks), meter.usage


def test_each_stream_of_the_corpus_has_its_usage() -> None:
    assert {name: metered(stream)[1] for name, stream in STREAMS.items()} == METERED


@given(changed(list(STREAMS.values())).flatmap(lambda text: st.tuples(st.just(text), cuts(text))))
def test_the_charge_of_no_stream_made_of_the_corpus_depends_on_where_its_pieces_end(
    sample: tuple[bytes, list[bytes]],
) -> None:
    """What the client gets may: an event with content and usage is passed as it is once its beginning has been."""
    text, chunks = sample
    assert metered(text)[1] == metered(*chunks)[1]


@given(changed(list(STREAMS.values())).flatmap(lambda text: st.tuples(st.just(text), cuts(text))))
def test_the_answer_that_is_joined_of_no_stream_depends_on_where_its_pieces_end(
    sample: tuple[bytes, list[bytes]],
) -> None:
    text, chunks = sample
    assert call("join", b"1", None, text) == call("join", b"1", None, *chunks)
