"""The ledger on SQLite and PostgreSQL: batches, changes of the counters, sums."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from arks.contracts.resources import QuotaPeriod
from arks.contracts.usage import UsageSource
from arks.token_quota.adapters import ledger as ledger_module
from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.tables import ENTRIES
from arks.token_quota.domain.batch import ClosedLease, UsageBatch
from arks.token_quota.domain.change import LeaseChange, LedgerChange
from arks.token_quota.domain.limits import Budget, RateUse
from arks.token_quota.domain.posting import Posting
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.ledger import UsageFilter
from arks.token_quota.testing.usage import STARTED_AT_MILLISECONDS, batch, record, reservation, started

pytestmark = pytest.mark.real

NOW = Moment(STARTED_AT_MILLISECONDS)
YESTERDAY = NOW.milliseconds - 86_400_000


async def post(ledger: SqlLedger, *batches: UsageBatch, quota: str = "q", now: Moment = NOW) -> list[Posting]:
    return await ledger.post(batches, lambda namespace, token, endpoint: quota, now)


async def total(ledger: SqlLedger) -> tuple[int, int, int]:
    (row,) = await ledger.usage_sums(UsageFilter(), [])
    return row.requests, row.prompt_tokens, row.completion_tokens


def charged(changes: list[LedgerChange]) -> tuple[int, int, int]:
    parts = [part for change in changes for part in change.changes]
    requests, prompt, completion = (
        sum(getattr(part, name) for part in parts) for name in ("requests", "prompt_tokens", "completion_tokens")
    )
    return requests, prompt, completion


async def test_a_batch_that_comes_again_writes_nothing(ledger: SqlLedger) -> None:
    first = batch(record())
    assert [1] == [len(posting.entries) for posting in await post(ledger, first, first)]
    # The id alone decides, so that no record of a repetition has to be looked up.
    assert [] == await post(ledger, first, batch(record("r2"), id=first.id))
    assert (1, 10, 20) == await total(ledger)
    assert 1 == len((await ledger.changes("team", 0, 10)).changes)


async def test_an_entry_has_all_that_its_record_has(ledger: SqlLedger, database: Database) -> None:
    noted: dict[str, Any] = {
        "duration_milliseconds": 1500,
        "first_byte_milliseconds": 70,
        "status_code": 206,
        "response_flags": "UC",
        "stream": True,
        "replica": "10.0.0.1:80",
    }
    await post(ledger, batch(record(operation="completions", **noted)), now=Moment(NOW.milliseconds + 9))
    (row,) = await database.read(lambda connection: connection.execute(ENTRIES.select()).mappings().all())
    assert {
        "seq": 1,
        "request_id": "r1",
        "revision": 0,
        "namespace": "team",
        "token": "tom",
        "endpoint": "qwen",
        "quota": "q",
        "operation": "completions",
        "source": int(UsageSource.ENGINE),
        "started_at_milliseconds": NOW.milliseconds,
        **noted,
        "requests": 1,
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "recorded_at_milliseconds": NOW.milliseconds + 9,
    } == dict(row)


async def test_an_empty_batch_is_a_change_that_carries_the_gateways_time(ledger: SqlLedger) -> None:
    await post(ledger, batch(complete_until_milliseconds=77))
    (change,) = (await ledger.changes("team", 0, 10)).changes
    assert ("gw", 77, []) == (change.gateway, change.complete_until_milliseconds, change.changes)
    assert [] == await ledger.usage_sums(UsageFilter(), [])


async def test_a_request_in_two_batches_is_charged_once(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1"), record("r2")))
    (posting,) = await post(ledger, batch(record("r2", prompt_tokens=99), record("r3")))
    assert (["r3"], 1) == ([entry.record.request_id for entry in posting.entries], posting.dropped)
    assert (3, 30, 60) == await total(ledger) == charged((await ledger.changes("team", 0, 10)).changes)


async def test_a_request_in_two_batches_of_one_transaction_is_charged_once(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1")), batch(record("r1"), record("r2")))
    assert (2, 20, 40) == await total(ledger) == charged((await ledger.changes("team", 0, 10)).changes)


async def test_a_start_that_comes_late_beside_a_request_in_two_batches_is_not_in_flight(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1"), record("r2", was_reported_started=True)))
    await post(ledger, batch(record("r1"), record("r3"), started=[started("r2")]))
    assert (3, []) == ((await total(ledger))[0], await ledger.expired_requests(NOW.milliseconds + 1, 10))


async def test_without_batches_nothing_is_written(ledger: SqlLedger) -> None:
    assert ([], 0) == (await post(ledger), await ledger.last_seq())


async def test_a_batch_with_more_requests_than_one_look_up_takes_is_charged_once(ledger: SqlLedger) -> None:
    many = [record(f"r{number}") for number in range(1100)]
    await post(ledger, batch(*many))
    (posting,) = await post(ledger, batch(*many, record("new")))
    assert (1, 1100) == (len(posting.entries), posting.dropped)


async def test_a_true_record_replaces_a_charged_reservation(ledger: SqlLedger) -> None:
    await post(ledger, batch(reservation()))
    for _ in range(2):
        await post(ledger, batch(record(was_reported_started=True)))
    assert (1, 10, 20) == await total(ledger) == charged((await ledger.changes("team", 0, 10)).changes)
    by_source = {row.source: row.requests for row in await ledger.usage_sums(UsageFilter(), ["source"])}
    assert {UsageSource.ENGINE: 1, UsageSource.RESERVATION: 0} == by_source


async def test_batches_written_at_the_same_time_get_rising_numbers_and_lose_nothing(ledger: SqlLedger) -> None:
    numbered = [batch(*(record(f"r{n}") for n in range(k, k + 10))) for k in range(0, 100, 10)]
    await asyncio.gather(*(post(ledger, *numbered[at : at + 2]) for at in range(9)))
    changes = (await ledger.changes("team", 0, 1000)).changes
    assert (100, 1000, 2000) == await total(ledger) == charged(changes)
    assert [0, *(change.seq for change in changes[:-1])] == [change.previous_seq for change in changes]


async def test_two_processes_write_one_ledger(ledger: SqlLedger, database_url: str) -> None:
    other_database = Database(database_url)
    writers = (ledger, SqlLedger(other_database))
    shared = [batch(record(f"r{number}")) for number in range(20)]
    await asyncio.gather(
        *(
            post(writer, shared[number], batch(record(f"own{number}-{at}")))
            for number in range(20)
            for at, writer in enumerate(writers)
        )
    )
    await other_database.close()
    changes = (await ledger.changes("team", 0, 1000)).changes
    assert (60, 600, 1200) == await total(ledger) == charged(changes)
    assert [0, *(change.seq for change in changes[:-1])] == [change.previous_seq for change in changes]


async def test_changes_are_summed_by_lease_and_read_in_order_from_where_a_reader_stopped(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1"), record("r2"), record("r3", lease="L2"), closed=[ClosedLease("L1", 3, 4, 5)]))
    await post(ledger, batch(record("other"), namespace="other"))
    await post(ledger, batch(record("r4", lease="")))
    first, second = (await ledger.changes("team", 0, 10)).changes
    of_tom = ("tom", "qwen", "q", NOW.minute)
    assert [
        LeaseChange("L1", *of_tom, 2, 200, 400, 20, 40),
        LeaseChange("L2", *of_tom, 1, 100, 200, 10, 20),
        LeaseChange("L1", "", "", "", 0, 0, 0, 0, 0, 0, True, 3, 4, 5),
    ] == first.changes
    assert (0, first.seq, await ledger.last_seq()) == (first.previous_seq, second.previous_seq, second.seq)
    assert [first] == (await ledger.changes("team", 0, 1)).changes
    assert [second] == (await ledger.changes("team", first.seq, 10)).changes
    assert [] == (await ledger.changes("team", second.seq, 10)).changes


async def test_batches_of_a_gateway_in_one_transaction_are_one_change(ledger: SqlLedger) -> None:
    early, late = (batch(record(f"r{until}"), complete_until_milliseconds=until) for until in (1, 2))
    other = batch(record("r3"), gateway="other", complete_until_milliseconds=0)
    await post(ledger, early, other, late, batch(record("r4"), namespace="other"))
    changes = (await ledger.changes("team", 0, 10)).changes
    assert [("gw", 2, 2), ("other", 0, 1)] == [
        (change.gateway, change.complete_until_milliseconds, sum(lease.requests for lease in change.changes))
        for change in changes
    ]
    assert [0, changes[0].seq] == [change.previous_seq for change in changes]


async def test_batches_with_many_leases_stay_changes_of_their_own(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "JOINED_CHANGES", 3)
    leases = ((0, 1), (2,), (3,), (4, 5, 6, 7))
    await post(ledger, *(batch(*(record(f"r{at}", lease=f"L{at}") for at in of_batch)) for of_batch in leases))
    assert [3, 1, 4] == [len(change.changes) for change in (await ledger.changes("team", 0, 10)).changes]


async def test_batches_of_the_same_leases_are_one_change_however_many_they_are(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "JOINED_CHANGES", 3)
    await post(ledger, *(batch(record(f"r{at}", lease=f"L{at % 2}")) for at in range(6)))
    (change,) = (await ledger.changes("team", 0, 10)).changes
    assert {"L0": 3, "L1": 3} == {lease.lease: lease.requests for lease in change.changes}


async def test_each_request_of_a_large_batch_has_one_entry(ledger: SqlLedger, database: Database) -> None:
    ids = [f"r{at:03}" for at in range(150)]
    await post(ledger, batch(record(ids[140])))
    await post(ledger, batch(*map(record, ids)))  # one of them is known, so its batch is posted again with look-ups
    columns = [ENTRIES.c.request_id, ENTRIES.c.prompt_tokens]
    query = sa.select(*columns).order_by(ENTRIES.c.request_id)
    rows = await database.read(lambda connection: connection.execute(query).all())
    assert [(id_, 10) for id_ in ids] == [tuple(row) for row in rows]


async def test_heads_are_the_last_changes_after_a_given_one(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1")), batch(record("r2"), namespace="other"))
    last = await ledger.last_seq()
    await post(ledger, batch(record("r3")))
    of_team, of_other = (await ledger.changes("team", 0, 10)).changes, (await ledger.changes("other", 0, 10)).changes
    assert {"team": of_team[-1].seq, "other": of_other[-1].seq} == await ledger.heads()
    assert {"team": of_team[-1].seq} == await ledger.heads(last)
    assert ["other", "team"] == await ledger.namespaces()


async def test_sums_are_grouped_and_filtered(ledger: SqlLedger) -> None:
    records = [
        record("r1"),
        record("r2", token="ann"),
        record("r3", started_at_milliseconds=YESTERDAY),
        record("r5", endpoint="phi"),
    ]
    await post(ledger, batch(*records), batch(record("r4"), namespace="other"))
    found = await ledger.usage_sums(UsageFilter(namespace="team", first_day=NOW.day), ["token", "endpoint"])
    assert [("ann", "qwen", 1), ("tom", "phi", 1), ("tom", "qwen", 1)] == [
        (row.token, row.endpoint, row.requests) for row in found
    ]
    days = await ledger.usage_sums(UsageFilter(namespace="team", endpoint="qwen", token="tom"), ["day"])
    assert [NOW.day - 1, NOW.day] == [row.day for row in days]


async def test_sums_are_those_of_the_days_and_the_quota_that_are_given(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1"), record("r2", started_at_milliseconds=YESTERDAY)))
    await post(ledger, batch(record("r3")), quota="other")
    filters = (
        UsageFilter(quota="q", last_day=NOW.day - 1),
        UsageFilter(quota="q", first_day=NOW.day, last_day=NOW.day),
        UsageFilter(quota="other"),
    )
    assert [1, 1, 1] == [(await ledger.usage_sums(usage_filter, []))[0].requests for usage_filter in filters]


async def test_sums_and_resets_are_those_of_one_namespace_and_endpoint(ledger: SqlLedger) -> None:
    records = (record("r1"), record("r2", endpoint="phi"))
    await post(ledger, batch(*records), batch(record("r3"), namespace="other"))
    assert 5 == await ledger.reset("other", "q", 5, NOW)
    assert RateUse(1, 30, 1, 30) == (await ledger.window_sums("team", "tom", "qwen", NOW)).use
    before = await ledger.budget_sums("team", Budget("q"), NOW)
    assert 1 == await ledger.reset("team", "q", 1, NOW)
    after = await ledger.budget_sums("team", Budget("q"), NOW)
    assert [(20, 40), (0, 0)] == [(sums.prompt_tokens, sums.completion_tokens) for sums in (before, after)]
    assert [{"q": 1}, {"q": 5}] == [(await ledger.changes(name, 0, 10)).resets for name in ("team", "other")]


async def test_window_sums_are_what_started_in_the_current_minute_and_day(ledger: SqlLedger) -> None:
    noon = Moment(NOW.milliseconds + 43_200_000)
    times = {"r1": noon.milliseconds, "r2": noon.minute * 60_000 - 1}
    of_ann = record("r3", token="ann", started_at_milliseconds=noon.milliseconds)
    of_tom = [record(request_id, started_at_milliseconds=time) for request_id, time in times.items()]
    await post(ledger, batch(*of_tom, of_ann, reservation("r4", started_at_milliseconds=noon.milliseconds)))
    await post(ledger, batch(record("r4", was_reported_started=True)))
    found = await ledger.window_sums("team", "tom", "qwen", noon)
    assert (RateUse(2, 60, 3, 90), await ledger.last_seq()) == (found.use, found.upto)


async def test_budget_sums_are_those_of_the_period(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1"), record("r2", started_at_milliseconds=YESTERDAY)))
    await post(ledger, batch(record("r3")), quota="")
    life = await ledger.budget_sums("team", Budget("q"), NOW)
    day = await ledger.budget_sums("team", Budget("q", QuotaPeriod.DAY), NOW)
    assert ((20, 40), (10, 20), await ledger.last_seq()) == (
        (life.prompt_tokens, life.completion_tokens),
        (day.prompt_tokens, day.completion_tokens),
        life.upto,
    )


async def test_a_reset_starts_a_budget_again_once_a_generation(ledger: SqlLedger) -> None:
    await post(ledger, batch(record("r1")))
    assert 1 == await ledger.reset("team", "q", 1, NOW)
    await post(ledger, batch(record("r2")))
    assert 1 == await ledger.reset("team", "q", 1, NOW)
    sums = await ledger.budget_sums("team", Budget("q", QuotaPeriod.MONTH), NOW)
    assert ((10, 20), {("team", "q"): 1}) == ((sums.prompt_tokens, sums.completion_tokens), await ledger.resets())


async def test_each_later_generation_starts_a_budget_again(ledger: SqlLedger) -> None:
    for generation in (1, 2):
        await post(ledger, batch(record(f"r{generation}")))
        assert generation == await ledger.reset("team", "q", generation, NOW)
    assert 2 == await ledger.reset("team", "q", 1, NOW)
    sums = await ledger.budget_sums("team", Budget("q"), NOW)
    assert (0, 0) == (sums.prompt_tokens, sums.completion_tokens)


async def test_a_reset_of_an_earlier_period_no_longer_matters(ledger: SqlLedger) -> None:
    await ledger.reset("team", "q", 1, Moment(YESTERDAY))
    await post(ledger, batch(record()))
    sums = await ledger.budget_sums("team", Budget("q", QuotaPeriod.DAY), NOW)
    assert 10 == sums.prompt_tokens
