"""The join of starts and ends, without files: lines go in, batches come out."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain.batch import ClosedLease, StartedRequest, UsageBatch, UsageRecord
from arks.token_quota.domain.charge import LineError
from arks.token_quota.domain.lease_book import (
    CLOSE_MARGIN_MILLISECONDS,
    HEARTBEAT_MILLISECONDS,
    NO_LEASE_MILLISECONDS,
    QUIET_MILLISECONDS,
    BookState,
    LeaseBook,
)

NOW = 1_795_254_321_000
PROMPT, COMPLETION = 10, 20
"""Reserved by each request."""


def lease_line(id_: str = "l1", end: int = NOW, requests: int = 3, namespace: str = "team") -> str:
    return f"L\t{id_}\t{end}\t{requests}\t{requests * PROMPT}\t{requests * COMPLETION}\t{namespace}/qwen/tom"


def start_line(id_: str = "r1", lease: str = "l1", at: int = NOW - 500) -> str:
    return f"S\t{id_}\t{lease}\t{PROMPT}\t{COMPLETION}\tcompletions\t{at}"


def end_line(id_: str = "r1", lease: str = "l1", namespace: str = "team") -> str:
    grant = f"{namespace}/qwen/tom/{lease}/{PROMPT}/{COMPLETION}"
    return f"{id_}\t1795254321.123\t532\t41\t200\t-\t127.0.0.1:9001\tcompletions\t0\t{grant}\te,3,4"


def restarted(book: LeaseBook) -> LeaseBook:
    return LeaseBook(msgspec.msgpack.decode(msgspec.msgpack.encode(book.state()), type=BookState))


def only(batches: list[UsageBatch]) -> UsageBatch:
    (batch,) = batches
    return batch


def test_a_lease_is_closed_when_the_margin_after_its_end_has_passed() -> None:
    book = LeaseBook()
    book.add_start_line(lease_line())
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
    book.add_start_line(lease_line())
    assert NOW - 500 == book.add_start_line(start_line())
    assert 1 == book.open_requests
    book.close_all()
    batch = only(book.batches("a", "gw", NOW))
    assert [StartedRequest("r1", "tom", "qwen", "completions", "l1", NOW - 500, PROMPT, COMPLETION)] == batch.started
    assert ([ClosedLease("l1", 2, 20, 40)], 0) == (batch.closed_leases, book.open_requests)
    book.add_end_line(end_line())
    (record,) = only(book.batches("b", "gw", NOW)).records
    assert record.was_reported_started


@pytest.mark.parametrize("end_first", [True, False])
def test_a_request_that_ends_before_the_closing_is_a_record_only(end_first: bool) -> None:
    book = LeaseBook()
    book.add_start_line(lease_line())
    if end_first:
        book.add_end_line(end_line())
        book = restarted_with_pending(book)
        book.add_start_line(start_line())
    else:
        book.add_start_line(start_line())
        book.add_end_line(end_line())
    book.close_all()
    batch = book.batches("id", "gw", NOW)[-1]
    assert ([], [ClosedLease("l1", 2, 20, 40)]) == (batch.started, batch.closed_leases)
    assert not any(record.was_reported_started for record in batch.records)


def restarted_with_pending(book: LeaseBook) -> LeaseBook:
    book.batches("first", "gw", NOW)
    return restarted(book)


WITHOUT_LEASE = start_line(lease="-") + "\tteam/qwen/tom"


def test_a_request_without_a_lease_that_ends_soon_is_a_record_only() -> None:
    book = LeaseBook()
    assert NOW - 500 == book.add_start_line(WITHOUT_LEASE)
    book.add_end_line(end_line(lease="-"))
    book.close_all()
    batch = only(book.batches("id", "gw", NOW))
    assert ([], [], [("", False)]) == (
        batch.started,
        batch.closed_leases,
        [(record.lease, record.was_reported_started) for record in batch.records],
    )


def test_a_request_without_a_lease_is_started_a_second_after_it_began() -> None:
    book = LeaseBook()
    book.add_start_line(WITHOUT_LEASE)
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
    book.add_start_line(WITHOUT_LEASE)
    book.close_all()
    book.batches("a", "gw", NOW)
    book.add_start_line(WITHOUT_LEASE.replace("r1", "r2"))
    book.add_end_line(end_line(lease="-"))
    (record,) = only(book.batches("b", "gw", NOW)).records
    assert (True, 1) == (record.was_reported_started, book.open_requests)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("", "kind of start"),
        ("X\ta", "kind of start"),
        ("X" + lease_line(id_="l2")[1:], "kind of start"),
        (lease_line() + "\tmore", "kind of start"),
        (lease_line(id_=""), "names of a lease"),
        (lease_line(id_="x" * 254), "names of a lease"),
        (lease_line(namespace=""), "names of a lease"),
        (lease_line(namespace="a/b"), "names of a lease"),
        (lease_line(namespace="a\0"), "names of a lease"),
        (lease_line(end=-1), "end of a lease"),
        (lease_line(requests=-1), "amounts of a lease"),
        (start_line(at=9_999_999_999_999), "start"),
        (start_line(id_="-"), "request id"),
        (start_line(id_=" "), "request id"),
        (start_line().replace("\t10\t", "\tten\t"), "prompt"),
    ],
)
def test_damaged_lines_are_rejected_and_change_nothing(line: str, column: str) -> None:
    book = LeaseBook()
    book.add_start_line(lease_line())
    with pytest.raises(LineError, match=column):
        book.add_start_line(line)
    book.close_all()
    assert [ClosedLease("l1", 3, 30, 60)] == only(book.batches("id", "gw", NOW)).closed_leases


def test_names_are_as_long_as_kubernetes_allows() -> None:
    book, longest = LeaseBook(), "x" * 253
    book.add_start_line(lease_line(longest, namespace=longest))
    book.close_all()
    batch = only(book.batches("id", "gw", NOW))
    assert (longest, longest) == (batch.namespace, batch.closed_leases[0].lease)


def test_a_start_in_a_lease_that_is_closed_changes_nothing() -> None:
    book = LeaseBook()
    book.add_start_line(lease_line())
    book.close_all()
    assert NOW - 500 == book.add_start_line(start_line())
    batch = only(book.batches("id", "gw", NOW))
    assert ([ClosedLease("l1", 3, 30, 60)], [], 0) == (batch.closed_leases, batch.started, book.open_requests)


def test_a_lease_that_is_written_twice_is_closed_once() -> None:
    book = LeaseBook()
    book.add_start_line(lease_line())
    book.add_start_line(lease_line())
    book.close_all()
    assert [ClosedLease("l1", 3, 30, 60)] == only(book.batches("id", "gw", NOW)).closed_leases


def test_an_end_that_is_read_first_belongs_to_one_start_only() -> None:
    book = LeaseBook()
    book.add_start_line(lease_line())
    book.add_end_line(end_line())
    book.add_start_line(start_line())
    book.add_start_line(start_line())
    book.close_all()
    assert ["r1"] == [request.request_id for request in only(book.batches("id", "gw", NOW)).started]


def test_heartbeats_end_when_lost_leases_have_returned() -> None:
    book = LeaseBook()
    book.add_start_line(lease_line())
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
            book.add_start_line(lease_line(id_, now + 1000, granted[id_], namespace_of(id_)))
        elif step == "S" and live:
            lease, requests = data.draw(st.sampled_from(live)), requests + 1
            room[lease] -= 1
            running[f"r{requests}"] = lease
            if data.draw(st.booleans()):  # the end is read first
                ended.append(f"r{requests}")
                book.add_end_line(end_line(f"r{requests}", running.pop(f"r{requests}"), namespace_of(lease)))
            book.add_start_line(start_line(f"r{requests}", lease, now))
        elif step == "E" and running:
            id_ = data.draw(st.sampled_from(sorted(running)))
            ended.append(id_)
            lease = running.pop(id_)
            book.add_end_line(end_line(id_, lease, namespace_of(lease)))
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
        book.add_end_line(end_line())
        columns = end_line("r2").split("\t")
        columns[2:6], columns[10] = [str(duration), "-", "0", "DC"], "-"
        for stream in ("0", "1"):
            columns[8] = stream
            book.add_end_line("\t".join(columns))
        (batch,) = book.batches("x", "gw", NOW)
        assert [4, tokens, 0] == [record.completion_tokens for record in batch.records]


def test_a_client_that_hangs_up_before_the_first_token_of_a_joined_answer_is_charged_none() -> None:
    book = LeaseBook()
    book.add_end_line(end_line())
    columns = end_line("r2").split("\t")
    columns[2:6], columns[8], columns[10] = ["1064", "-", "0", "DC"], "0", "d,0"
    book.add_end_line("\t".join(("2", *columns, ".")))
    (batch,) = book.batches("x", "gw", NOW)
    assert [4, 0] == [record.completion_tokens for record in batch.records]
