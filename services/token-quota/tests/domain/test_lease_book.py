"""The join of starts and ends, without files: lines go in, batches come out."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain.batch import ClosedLease, StartedRequest, UsageBatch, UsageRecord
from arks.token_quota.domain.lease_book import (
    CLOSE_MARGIN_MILLISECONDS,
    HEARTBEAT_MILLISECONDS,
    NO_LEASE_MILLISECONDS,
    QUIET_MILLISECONDS,
    BookState,
    LeaseBook,
)
from arks.token_quota.domain.lines import EndLine, LeaseLine, LineError, StartLine

NOW = 1_795_254_321_000
PROMPT, COMPLETION = 10, 20
"""Reserved by each request."""


def lease_line(id_: str = "l1", end: int = NOW, requests: int = 3, namespace: str = "team") -> LeaseLine:
    return LeaseLine(id_, end, requests, requests * PROMPT, requests * COMPLETION, f"{namespace}/qwen/tom")


def start_line(id_: str = "r1", lease: str = "l1", at: int = NOW - 500, names: str = "") -> StartLine:
    return StartLine(id_, lease, PROMPT, COMPLETION, "completions", at, names)


def end_line(id_: str = "r1", lease: str = "l1", namespace: str = "team") -> EndLine:
    names, began = f"{namespace}/qwen/tom/{lease}", 1_795_254_321_123
    answer = (200, "-", 1, "127.0.0.1:9001", "completions", False)
    return EndLine(id_, began, 532, 41, *answer, names, PROMPT, COMPLETION, "e", 3, 4)


def abandoned_line(usage: Literal["d", "-"], duration: int, *, stream: bool = False) -> EndLine:
    """Its client has left before the answer began."""
    changes: dict[str, Any] = {"duration_milliseconds": duration, "status": 0, "stream": stream}
    return msgspec.structs.replace(end_line("r2"), flags="DC", usage=usage, first_count=0, second_count=0, **changes)


def restarted(book: LeaseBook) -> LeaseBook:
    return LeaseBook(msgspec.msgpack.decode(msgspec.msgpack.encode(book.state()), type=BookState))


def only(batches: list[UsageBatch]) -> UsageBatch:
    (batch,) = batches
    return batch


def test_a_lease_is_closed_when_the_margin_after_its_end_has_passed() -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    book.close(NOW + CLOSE_MARGIN_MILLISECONDS - 1)
    assert 1 == book.leases
    book.close(NOW + CLOSE_MARGIN_MILLISECONDS)
    batch = only(book.batches("id", "gw", NOW))
    assert ([ClosedLease("l1", 3, 30, 60)], 0) == (batch.closed_leases, book.leases)
    assert ("id-team.0", "gw", "team", NOW) == (
        batch.id,
        batch.gateway,
        batch.namespace,
        batch.complete_until_milliseconds,
    )


def test_a_request_in_flight_at_the_closing_is_started_and_its_record_marked() -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    book.add_start(start_line())
    assert 1 == book.open_requests
    book.close_all()
    batch = only(book.batches("a", "gw", NOW))
    assert [StartedRequest("r1", "tom", "qwen", "completions", "l1", NOW - 500, PROMPT, COMPLETION)] == batch.started
    assert ([ClosedLease("l1", 2, 20, 40)], 0) == (batch.closed_leases, book.open_requests)
    book.add_end(end_line())
    (record,) = only(book.batches("b", "gw", NOW)).records
    assert record.was_reported_started


@pytest.mark.parametrize("end_first", [True, False])
def test_a_request_that_ends_before_the_closing_is_a_record_only(end_first: bool) -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    if end_first:
        book.add_end(end_line())
        book = restarted_with_pending(book)
        book.add_start(start_line())
    else:
        book.add_start(start_line())
        book.add_end(end_line())
    book.close_all()
    batch = book.batches("id", "gw", NOW)[-1]
    assert ([], [ClosedLease("l1", 2, 20, 40)]) == (batch.started, batch.closed_leases)
    assert not any(record.was_reported_started for record in batch.records)


def restarted_with_pending(book: LeaseBook) -> LeaseBook:
    book.batches("first", "gw", NOW)
    return restarted(book)


WITHOUT_LEASE = start_line(lease="-", names="team/qwen/tom")


def test_a_request_without_a_lease_that_ends_soon_is_a_record_only() -> None:
    book = LeaseBook()
    book.add_start(WITHOUT_LEASE)
    book.add_end(end_line(lease="-"))
    book.close_all()
    batch = only(book.batches("id", "gw", NOW))
    assert ([], [], [("", False)]) == (
        batch.started,
        batch.closed_leases,
        [(record.lease, record.was_reported_started) for record in batch.records],
    )


def test_a_request_without_a_lease_is_started_a_second_after_it_began() -> None:
    book = LeaseBook()
    book.add_start(WITHOUT_LEASE)
    due = NOW - 500 + NO_LEASE_MILLISECONDS + CLOSE_MARGIN_MILLISECONDS
    book = restarted(book)
    book.close(due - 1)
    assert [] == book.batches("a", "gw", NOW)
    book.close(due)
    batch = only(book.batches("b", "gw", NOW))
    assert [StartedRequest("r1", "tom", "qwen", "completions", "-", NOW - 500, PROMPT, COMPLETION)] == batch.started
    assert ([], 0) == (batch.closed_leases, book.leases)


def test_a_late_end_without_a_lease_is_marked_though_another_request_is_in_flight() -> None:
    book = LeaseBook()
    book.add_start(WITHOUT_LEASE)
    book.close_all()
    book.batches("a", "gw", NOW)
    book.add_start(start_line("r2", "-", names="team/qwen/tom"))
    book.add_end(end_line(lease="-"))
    (record,) = only(book.batches("b", "gw", NOW)).records
    assert (True, 1) == (record.was_reported_started, book.open_requests)


@pytest.mark.parametrize(
    "line",
    [
        lease_line(namespace=""),
        lease_line(namespace="a/b"),
        lease_line(namespace="x" * 254),
        start_line(id_="-"),
        start_line(names="team/qwen/tom"),
        start_line(lease="-", names="team/qwen"),
        end_line(id_="-"),
        end_line(namespace=""),
    ],
)
def test_lines_of_no_lease_and_no_request_change_nothing(line: LeaseLine | StartLine | EndLine) -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    adds: dict[type, Callable[[Any], None]]
    adds = {LeaseLine: book.add_lease, StartLine: book.add_start, EndLine: book.add_end}
    with pytest.raises(LineError):
        adds[type(line)](line)
    book.close_all()
    (batch,) = book.batches("id", "gw", NOW)
    assert ([ClosedLease("l1", 3, 30, 60)], [], []) == (batch.closed_leases, batch.started, batch.records)


def test_names_are_as_long_as_kubernetes_allows() -> None:
    book, longest = LeaseBook(), "x" * 253
    book.add_lease(lease_line(longest, namespace=longest))
    book.close_all()
    batch = only(book.batches("id", "gw", NOW))
    assert (longest, longest) == (batch.namespace, batch.closed_leases[0].lease)


def test_a_start_in_a_lease_that_is_closed_changes_nothing() -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    book.close_all()
    book.add_start(start_line())
    batch = only(book.batches("id", "gw", NOW))
    assert ([ClosedLease("l1", 3, 30, 60)], [], 0) == (batch.closed_leases, batch.started, book.open_requests)


def test_a_lease_that_is_written_twice_is_closed_once() -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    book.add_lease(lease_line())
    book.close_all()
    assert [ClosedLease("l1", 3, 30, 60)] == only(book.batches("id", "gw", NOW)).closed_leases


def test_an_end_that_is_read_first_belongs_to_one_start_only() -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    book.add_end(end_line())
    book.add_start(start_line())
    book.add_start(start_line())
    book.close_all()
    assert ["r1"] == [request.request_id for request in only(book.batches("id", "gw", NOW)).started]


def test_heartbeats_end_when_lost_leases_have_returned() -> None:
    book = LeaseBook()
    book.add_lease(lease_line())
    book.close_all()
    only(book.batches("id", "gw", NOW))
    assert [] == book.batches("id", "gw", NOW + HEARTBEAT_MILLISECONDS - 1)
    assert 1 == len(restarted(book).batches("id", "gw", NOW + 1))
    assert 1 == len(book.batches("id", "gw", NOW + HEARTBEAT_MILLISECONDS))
    assert 1 == len(book.batches("id", "gw", NOW + QUIET_MILLISECONDS + 1))
    assert [] == book.batches("id", "gw", NOW + 10 * QUIET_MILLISECONDS)


@given(st.data())
def test_every_granted_amount_is_accounted_for_once(data: st.DataObject) -> None:
    """Restarts come between flushes: the shipper keeps state and batches together."""
    book = LeaseBook()
    batches: list[UsageBatch] = []
    granted: dict[str, int] = {}
    room: dict[str, int] = {}
    running: dict[str, str] = {}
    ended: list[str] = []
    requests, now = 0, NOW
    for flush, step in enumerate(data.draw(st.lists(st.sampled_from("LSSETFR"), min_size=10, max_size=60))):
        live = sorted(id_ for id_, amount in room.items() if amount)
        if step == "L":
            id_ = f"l{len(granted)}"
            granted[id_] = room[id_] = data.draw(st.integers(1, 5))
            book.add_lease(lease_line(id_, now + 1000, granted[id_], namespace_of(id_)))
        elif step == "S" and live:
            lease, requests = data.draw(st.sampled_from(live)), requests + 1
            room[lease] -= 1
            running[f"r{requests}"] = lease
            if data.draw(st.booleans()):  # the end is read first
                ended.append(f"r{requests}")
                book.add_end(end_line(f"r{requests}", running.pop(f"r{requests}"), namespace_of(lease)))
            book.add_start(start_line(f"r{requests}", lease, now))
        elif step == "E" and running:
            id_ = data.draw(st.sampled_from(sorted(running)))
            ended.append(id_)
            lease = running.pop(id_)
            book.add_end(end_line(id_, lease, namespace_of(lease)))
        elif step == "T":
            now += data.draw(st.sampled_from([1300, 1]))
            room = dict.fromkeys(room, 0)  # no lease admits after its closing
            book.close(now)
        elif step in "FR":
            batches += book.batches(f"id{flush}", "gw", now)
            book = restarted(book) if step == "R" else book
    book.close_all()
    batches += book.batches("last", "gw", now)
    check(batches, granted, running, ended)


def namespace_of(lease: str) -> str:
    return "team" if int(lease[1:]) % 2 else "other"


def check(batches: list[UsageBatch], granted: dict[str, int], running: dict[str, str], ended: list[str]) -> None:
    records: list[UsageRecord] = [record for batch in batches for record in batch.records]
    started = {request.request_id: request for batch in batches for request in batch.started}
    closed = [closed for batch in batches for closed in batch.closed_leases]
    assert Counter(ended) == Counter(record.request_id for record in records)
    assert sum(len(batch.started) for batch in batches) == len(started)
    marked = {record.request_id for record in records if record.was_reported_started}
    assert marked | set(running) == set(started)
    assert sorted(granted) == sorted(lease.lease for lease in closed)
    known = {record.request_id for record in records}
    for lease in closed:
        taken = [record.reserved_prompt_tokens for record in records if record.lease == lease.lease]
        taken += [
            request.reserved_prompt_tokens
            for request in started.values()
            if request.lease == lease.lease and request.request_id not in known
        ]
        assert granted[lease.lease] == lease.unused_requests + len(taken)
        assert granted[lease.lease] * PROMPT == lease.unused_prompt_tokens + sum(taken)
        assert granted[lease.lease] * COMPLETION == lease.unused_completion_tokens + len(taken) * COMPLETION


def test_a_client_that_does_not_wait_for_its_answer_is_charged_for_the_time_of_the_engine() -> None:
    """4 tokens take 532 ms, and the reservation is the most."""
    for duration, tokens in ((1064, 8), (100_000, COMPLETION)):
        book = LeaseBook()
        book.add_end(end_line())
        book.add_end(abandoned_line("-", duration))
        book.add_end(abandoned_line("-", duration, stream=True))
        (batch,) = book.batches("x", "gw", NOW)
        assert [4, tokens, 0] == [record.completion_tokens for record in batch.records]


def test_a_client_that_hangs_up_before_the_first_token_of_a_joined_answer_is_charged_none() -> None:
    book = LeaseBook()
    book.add_end(end_line())
    book.add_end(abandoned_line("d", 1064))
    (batch,) = book.batches("x", "gw", NOW)
    assert [4, 0] == [record.completion_tokens for record in batch.records]
