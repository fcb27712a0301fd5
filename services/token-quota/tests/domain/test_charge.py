import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.batch import SOURCES, UsageRecord
from arks.token_quota.domain.charge import usage_record
from arks.token_quota.domain.grant import Grant, parse_grant
from arks.token_quota.domain.lines import LineError
from arks.token_quota.domain.tabbed_lines import FRAME, read_end

GRANT = "team/qwen/tom/lease0000001/100/512"
UPSTREAM = "127.0.0.1:9001"


def line(
    usage: str = "e,21,53", *, status: object = 200, upstream: str = UPSTREAM, flags: str = "-", **columns: str
) -> str:
    parts = {
        "id": "0d3f-1",
        "start": "1795254321.123",
        "duration": "532",
        "first_byte": "41",
        "status": str(status),
        "flags": flags,
        "upstream": upstream,
        "operation": "chat.completions",
        "stream": "1",
        "grant": GRANT,
        "usage": usage,
    }
    return "\t".join((parts | columns).values())


def read(text: str) -> UsageRecord:
    return usage_record(read_end(text))[1]


def tokens(text: str) -> tuple[UsageSource, int, int]:
    record = read(text)
    return SOURCES[record.source], record.prompt_tokens, record.completion_tokens


@pytest.mark.parametrize(
    ("column", "flags", "retries"),
    [
        ("-,1", "-", 0),
        ("-,0", "-", 0),
        ("-,3", "-", 2),
        ("UC,URX,4", "UC,URX", 3),
        ("-", "-", 0),
        ("UC,URX", "UC,URX", 0),
    ],
)
def test_attempts_follow_the_flags_but_for_an_older_gateway(column: str, flags: str, retries: int) -> None:
    record = read(line(flags=column))
    assert (flags, retries) == (record.response_flags, record.retries)


def test_a_line_is_read_into_a_record() -> None:
    assert (
        "team",
        UsageRecord(
            request_id="0d3f-1",
            token="tom",
            endpoint="qwen",
            operation="chat.completions",
            source="USAGE_SOURCE_ENGINE",
            started_at_milliseconds=1795254321123,
            prompt_tokens=21,
            completion_tokens=53,
            duration_milliseconds=532,
            first_byte_milliseconds=41,
            status_code=200,
            response_flags="-",
            stream=True,
            replica=UPSTREAM,
            lease="lease0000001",
            reserved_prompt_tokens=100,
            reserved_completion_tokens=512,
        ),
    ) == usage_record(read_end(line()))


@pytest.mark.parametrize("grant", ["team/qwen/tom/-/100/512", "team/qwen/tom/100/512"])
def test_a_request_without_counters_and_a_line_of_an_older_version_have_no_lease(grant: str) -> None:
    record = read(line(grant=grant))
    assert ("tom", "", 100, 512) == (
        record.token,
        record.lease,
        record.reserved_prompt_tokens,
        record.reserved_completion_tokens,
    )


def test_the_engines_numbers_are_charged() -> None:
    assert (UsageSource.ENGINE, 21, 53) == tokens(line())


def test_an_answer_that_ended_early_is_charged_by_what_was_delivered() -> None:
    assert (UsageSource.DELIVERED, 100, 7) == tokens(line("d,7", flags="DC"))
    assert (UsageSource.DELIVERED, 100, 0) == tokens(line("d,0", flags="UC"))


def test_a_client_that_hangs_up_before_the_answer_is_charged_its_prompt() -> None:
    assert (UsageSource.DELIVERED, 100, 0) == tokens(line("-", status=0, flags="DC"))


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_refusal_of_the_engine_costs_nothing(status: int) -> None:
    assert (UsageSource.NONE, 0, 0) == tokens(line("-", status=status))


def test_a_request_that_reached_no_engine_costs_nothing() -> None:
    assert (UsageSource.NONE, 0, 0) == tokens(line("-", status=503, upstream="-", flags="UH"))
    assert (UsageSource.NONE, 0, 0) == tokens(line("-", status=0, upstream="-", flags="DC"))


def test_an_answer_without_usage_is_charged_its_reservation() -> None:
    assert (UsageSource.RESERVATION, 100, 512) == tokens(line("-"))


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"usage": "e,1"}, "usage"),
        ({"usage": "e,-1,2"}, "usage"),
        ({"usage": "e,1,99999999999"}, "usage"),
        ({"usage": "x"}, "usage"),
        ({"usage": "e,١,2"}, "usage"),
        ({"grant": "team/qwen/tom/1"}, "grant"),
        ({"grant": "team//tom/1/2"}, "grant"),
        ({"grant": "team/qwen/tom/lease/x/2"}, "grant"),
        ({"grant": "team/qwen/tom/lease/1/x"}, "grant"),
        ({"grant": "team/qwen/tom/1/2/3/4"}, "grant"),
        ({"grant": f"{'t' * 254}/qwen/tom/1/2"}, "grant"),
        ({"grant": "-"}, "grant"),
        ({"start": "yesterday"}, "start"),
        ({"start": "1795254321.x"}, "start"),
        ({"start": "17952543210"}, "start"),
        ({"start": "8589934592.000"}, "start"),
        ({"start": "8589934592"}, "start"),
        ({"start": "1795254321.١٢٣"}, "start"),
        ({"start": "١"}, "start"),
        ({"operation": "a\0b"}, "number of columns"),
        ({"status": "ok"}, "status"),
        ({"duration": "-5"}, "duration"),
        ({"id": "-"}, "request id"),
        ({"id": ""}, "request id"),
        ({"id": "a\rb"}, "request id"),
    ],
)
def test_a_damaged_line_names_its_column(columns: dict[str, str], column: str) -> None:
    with pytest.raises(LineError, match=f"^{column}$"):
        read(line(**columns))


@pytest.mark.parametrize(
    ("start", "milliseconds"),
    [
        ("1795254321.123", 1795254321123),
        ("1795254321", 1795254321000),
        ("1795254321.5", 1795254321500),
        ("1795254321.123999", 1795254321123),
        ("8589934591.999", 8589934591999),
    ],
)
def test_a_start_may_have_any_number_of_decimals(start: str, milliseconds: int) -> None:
    assert milliseconds == read(line(start=start)).started_at_milliseconds


def test_absent_times_are_zero() -> None:
    record = read(line(duration="-", first_byte="-"))
    assert (0, 0) == (record.duration_milliseconds, record.first_byte_milliseconds)


@given(st.text())
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    with pytest.raises(LineError):
        read(text)


@given(st.text(alphabet="0123456789/\t-.,abcde\n"))
def test_garbage_made_of_our_own_characters_does_not_break_it_either(text: str) -> None:
    with contextlib.suppress(LineError):
        read(text)


def test_a_grant_of_an_older_version_has_its_names_and_no_lease() -> None:
    longest = "t" * 253
    assert Grant(longest, "qwen", "tom", "", 1, 2) == parse_grant(f"{longest}/qwen/tom/1/2")


names = st.from_regex(r"\A[a-z0-9][a-z0-9.-]{0,20}\Z")
counts = st.integers(0, 2**31 - 1)


@given(st.builds(Grant, names, names, names, names, counts, counts))
def test_a_grant_is_read_back_as_it_was_written(grant: Grant) -> None:
    assert grant == parse_grant(str(grant))


def framed(text: str) -> str:
    """As Envoy writes it, without the newlines around it."""
    return f"{FRAME[0]}\t{text}\t{FRAME[1]}"


def records(text: str) -> list[UsageRecord]:
    found = []
    for each in text.split("\n"):
        with contextlib.suppress(LineError):
            found.append(read(each))
    return found


def test_a_line_with_a_frame_is_the_line_within_it() -> None:
    assert read(line("e,21,53")) == read(framed(line("e,21,53")))


WRITTEN = [framed(line("e,21,53", id=f"0d3f-{number}")) for number in range(2)]


@pytest.mark.parametrize("between", ["", "\n", "\n\n"])
def test_a_cut_line_is_never_charged_to_any_request(between: str) -> None:
    """Wherever it is cut, before or after, and whether a newline follows the cut."""
    whole = [read(text) for text in WRITTEN]
    first, second = WRITTEN
    for at in range(len(first)):
        assert all(record == whole[1] for record in records(first[:at] + between + second))
        assert all(record == whole[0] for record in records(first + between + second[:at]))
        assert all(record == whole[1] for record in records(first[at + 1 :] + between + second))
        assert whole[1:] == records(first[:at] + "\n" + second)
        assert [] == records(first[:at]) == records(first[at + 1 :])
