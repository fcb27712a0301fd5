from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.batch import ClosedLease, UsageBatch, UsageRecord
from arks.token_quota.domain.change import LeaseChange
from arks.token_quota.domain.posting import (
    Entry,
    Joined,
    Known,
    KnownEntries,
    Posting,
    Sums,
    post,
    sums_by_minute,
    uncertain_requests,
)
from arks.token_quota.testing.usage import STARTED_AT_MILLISECONDS, batch, record, reservation, started

MINUTE = STARTED_AT_MILLISECONDS // 60_000
CHARGED = Known(UsageSource.RESERVATION, "q", STARTED_AT_MILLISECONDS, 100, 200, 0)
TRUE = Known(UsageSource.ENGINE, "q", STARTED_AT_MILLISECONDS, 10, 20, 0)


def posting(posted: UsageBatch, **known: Known) -> Posting:
    return post(posted, lambda token, endpoint: "q", dict(known))


def numbers(entries: list[Entry]) -> list[tuple[str, int, int, int, int]]:
    return [(e.record.request_id, e.revision, e.requests, e.prompt_tokens, e.completion_tokens) for e in entries]


def change(
    lease: str, requests: int, reserved: tuple[int, int], used: tuple[int, int], minute: int = MINUTE
) -> LeaseChange:
    return LeaseChange(lease, "tom", "qwen", "q", minute, requests, *reserved, *used)


def test_a_request_is_posted_once() -> None:
    found = posting(batch(record(), record()))
    assert ([("r1", 0, 1, 10, 20)], 1) == (numbers(found.entries), found.dropped)


def test_a_request_that_the_ledger_holds_is_not_posted_again() -> None:
    found = posting(batch(record(prompt_tokens=99)), r1=TRUE)
    assert ([], [], 1) == (found.entries, found.changes, found.dropped)


def test_a_true_record_corrects_a_charged_reservation_by_the_difference() -> None:
    found = posting(batch(record()), r1=CHARGED)
    assert [("r1", 1, 0, -90, -180)] == numbers(found.entries)


def test_a_correction_is_final() -> None:
    assert [] == posting(batch(record(prompt_tokens=5)), r1=TRUE._replace(revision=1)).entries


def test_a_reservation_replaces_neither_a_true_record_nor_another_reservation() -> None:
    assert [] == posting(batch(reservation()), r1=TRUE).entries
    assert [] == posting(batch(reservation()), r1=CHARGED).entries


def test_a_correction_goes_to_the_day_and_the_budget_of_the_charge() -> None:
    late = record(started_at_milliseconds=STARTED_AT_MILLISECONDS + 86_400_000)
    (entry,) = posting(batch(late), r1=CHARGED._replace(quota="former")).entries
    assert ("former", STARTED_AT_MILLISECONDS) == (entry.quota, entry.started_at_milliseconds)


def test_a_request_is_charged_to_the_budget_of_its_grant() -> None:
    leases = {"abc1-team--budget": "team-budget", "abc2-": "", "abc3": "q", "": "q"}
    records = [record(f"r{number}", lease=lease) for number, lease in enumerate(leases)]
    assert list(leases.values()) == [entry.quota for entry in posting(batch(*records)).entries]


def test_sums_move_a_corrected_request_from_one_source_to_the_other() -> None:
    late = record(started_at_milliseconds=STARTED_AT_MILLISECONDS + 60_000)
    sums = sums_by_minute(posting(batch(reservation(), late)).entries)
    assert sums == {
        ("tom", "qwen", "q", UsageSource.RESERVATION, MINUTE): Sums(0, 0, 0),
        ("tom", "qwen", "q", UsageSource.ENGINE, MINUTE): Sums(1, 10, 20),
    }


def test_changes_of_several_batches_are_joined_as_if_they_were_one() -> None:
    of_first = [record("r1"), record("r2", lease="L2"), reservation("r3")]
    of_second = [record("r4"), record("r5", lease=""), record("r3")]
    closed = ([ClosedLease("L1", 1, 2, 3)], [ClosedLease("L2", 4, 5, 6)])
    known: KnownEntries = {}
    apart = [
        post(batch(*records, closed=leases), lambda *_: "q", known)
        for records, leases in zip((of_first, of_second), closed, strict=True)
    ]
    whole = posting(batch(*of_first, *of_second, closed=[*closed[0], *closed[1]]))
    joined = Joined(apart[0])
    assert joined.add_up_to(10, apart[1])
    assert whole.changes == joined.changes()


def test_batches_are_joined_while_few_changes_result_however_many_requests_they_have() -> None:
    joined = Joined(posting(batch(record("r1"), record("r2", lease="L2"))))
    assert joined.add_up_to(3, posting(batch(record("r3"))))
    assert not joined.add_up_to(3, posting(batch(record("r4", lease="L3"), closed=[ClosedLease("L1", 1, 2, 3)])))
    assert joined.add_up_to(3, posting(batch(record("r5"))))
    assert [change("L1", 3, (300, 600), (30, 60)), change("L2", 1, (100, 200), (10, 20))] == joined.changes()


def test_only_requests_that_the_ledger_may_hold_are_looked_up() -> None:
    ended = (record("r1"), record("r2", was_reported_started=True), reservation("r3"))
    assert ["r2", "r3", "r4"] == uncertain_requests(batch(*ended, started=[started("r4")]))


def test_a_started_request_is_in_flight_unless_its_end_is_known() -> None:
    found = posting(batch(record("r2"), started=[started("r1"), started("r2"), started("r3")]), r3=TRUE)
    assert [started("r1")] == found.opened


def test_an_end_takes_a_request_out_of_flight_and_a_reservation_charges_it() -> None:
    found = posting(batch(record("r1", was_reported_started=True), record("r2"), reservation("r3")))
    assert (["r1"], ["r3"]) == (found.ended, found.charged)


def test_an_answer_without_usage_that_was_reported_started_has_ended() -> None:
    found = posting(batch(reservation("r1", was_reported_started=True)))
    assert (["r1"], []) == (found.ended, found.charged)


def test_a_request_that_the_ledger_holds_does_not_expire_again() -> None:
    assert ["r1"] == posting(batch(reservation()), r1=TRUE).ended


def test_changes_sum_up_by_lease_and_closed_leases_come_last() -> None:
    closed = ClosedLease("L1", 3, 30, 300)
    later = record("r4", started_at_milliseconds=STARTED_AT_MILLISECONDS + 60_000)
    found = posting(batch(record("r1"), record("r2"), record("r3", lease="L2"), later, closed=[closed]))
    assert [
        change("L1", 2, (200, 400), (20, 40)),
        change("L2", 1, (100, 200), (10, 20)),
        change("L1", 1, (100, 200), (10, 20), MINUTE + 1),
        LeaseChange("L1", "", "", "", 0, 0, 0, 0, 0, 0, True, 3, 30, 300),
    ] == found.changes


def test_users_of_one_batch_change_their_own_counters() -> None:
    found = post(batch(record("r1"), record("r2", token="ann")), lambda token, _: {"tom": "q", "ann": ""}[token], {})
    assert [("tom", "q", 1), ("ann", "", 1)] == [(c.token, c.quota, c.requests) for c in found.changes]


def test_a_correction_changes_tokens_but_no_lease_and_no_request() -> None:
    assert [change("", 0, (0, 0), (-90, -180))] == posting(batch(record()), r1=CHARGED).changes


records = st.builds(
    lambda number, source, prompt, completion: record(
        f"r{number}", source, prompt_tokens=prompt, completion_tokens=completion
    ),
    st.integers(0, 3),
    st.sampled_from(UsageSource),
    st.integers(0, 100),
    st.integers(0, 100),
)


@given(st.lists(st.lists(records, max_size=6), max_size=6))
def test_in_any_order_each_request_costs_its_first_true_record_or_its_reservation(
    batches: list[list[UsageRecord]],
) -> None:
    expected: dict[str, UsageRecord] = {}
    for ended in (ended for ended_of_batch in batches for ended in ended_of_batch):
        before = expected.get(ended.request_id)
        charged = UsageSource.RESERVATION.message_name
        if before is None or (before.source == charged and ended.source != charged):
            expected[ended.request_id] = ended
    known: KnownEntries = {}
    postings = [post(batch(*records), lambda *_: "q", known) for records in batches]
    entries = [entry for posting in postings for entry in posting.entries]
    changes = [change for posting in postings for change in posting.changes]
    days = [sums for posting in postings for sums in sums_by_minute(posting.entries).values()]
    truth = (
        len(expected),
        sum(ended.prompt_tokens for ended in expected.values()),
        sum(ended.completion_tokens for ended in expected.values()),
    )
    for sums in (entries, changes, days):
        assert truth == tuple(
            sum(getattr(row, name) for row in sums) for name in ("requests", "prompt_tokens", "completion_tokens")
        )
    assert len(expected) * 100 == sum(change.reserved_prompt_tokens for change in changes)
    assert max(Counter(entry.record.request_id for entry in entries).values(), default=0) <= 2
