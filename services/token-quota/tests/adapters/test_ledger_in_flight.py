"""Requests in flight and old rows, in the ledger on SQLite and PostgreSQL."""

import pytest
import sqlalchemy as sa

from arks.token_quota.adapters.database import Database
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.adapters.tables import BATCHES, CHANGES, ENTRIES, OPEN
from arks.token_quota.domain.batch import StartedRequest, UsageBatch
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment
from arks.token_quota.service.ports.ledger import OpenRequest, PruneBefore, UsageFilter
from arks.token_quota.testing.usage import STARTED_AT_MILLISECONDS, batch, record, reservation, started

pytestmark = pytest.mark.real

NOW = Moment(STARTED_AT_MILLISECONDS)
LATER = Moment(NOW.milliseconds + DAY_MILLISECONDS)
END = record(was_reported_started=True)


async def post(ledger: SqlLedger, *batches: UsageBatch, now: Moment = NOW) -> None:
    await ledger.post(batches, lambda namespace, token, endpoint: "q", now)


async def in_flight(ledger: SqlLedger) -> list[StartedRequest]:
    """Those that are not charged."""
    return [request.started for request in await ledger.expired_requests(LATER.milliseconds, 100)]


async def total(ledger: SqlLedger) -> tuple[int, int, int]:
    (row,) = await ledger.usage_sums(UsageFilter(), [])
    return row.requests, row.prompt_tokens, row.completion_tokens


async def test_a_started_request_is_in_flight_until_its_end_comes(ledger: SqlLedger) -> None:
    await post(ledger, batch(started=[started("r1"), started("r2")]))
    assert [started("r1"), started("r2")] == await in_flight(ledger)
    await post(ledger, batch(END))
    assert [started("r2")] == await in_flight(ledger)


async def test_a_start_that_comes_in_two_batches_is_in_flight_once(ledger: SqlLedger) -> None:
    for _ in range(2):
        await post(ledger, batch(started=[started("r1")]))
    assert [started("r1")] == await in_flight(ledger)


async def test_a_start_that_comes_after_its_end_is_not_in_flight(ledger: SqlLedger) -> None:
    await post(ledger, batch(END))
    await post(ledger, batch(started=[started("r1"), started("r2")]))
    assert [started("r2")] == await in_flight(ledger)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_after_start_and_end_in_one_transaction_nothing_is_in_flight(
    ledger: SqlLedger, order: tuple[int, int]
) -> None:
    batches = (batch(started=[started("r1")]), batch(END))
    await post(ledger, *(batches[at] for at in order))
    assert ([], (1, 10, 20)) == (await in_flight(ledger), await total(ledger))


async def test_expired_requests_are_the_oldest_that_started_before_a_time(ledger: SqlLedger) -> None:
    times = {"old": -2000, "older": -3000, "new": 0}
    for request_id, shift in times.items():
        start = started(request_id, started_at_milliseconds=NOW.milliseconds + shift)
        await post(ledger, batch(started=[start], namespace=f"of-{request_id}"))
    found = await ledger.expired_requests(NOW.milliseconds, 10)
    assert [("of-older", "older"), ("of-old", "old")] == [(f.namespace, f.started.request_id) for f in found]
    start = started("older", started_at_milliseconds=NOW.milliseconds - 3000)
    assert [OpenRequest("of-older", start)] == await ledger.expired_requests(NOW.milliseconds, 1)


async def test_a_reservation_charges_a_request_in_flight_once(ledger: SqlLedger) -> None:
    await post(ledger, batch(started=[started()]))
    await post(ledger, batch(reservation(), gateway=""))
    await post(ledger, batch(reservation(), gateway=""))
    assert ([], (1, 100, 200)) == (await in_flight(ledger), await total(ledger))


async def test_a_true_record_corrects_what_was_charged_while_in_flight(ledger: SqlLedger) -> None:
    await post(ledger, batch(started=[started()]))
    await post(ledger, batch(reservation(), gateway=""))
    await post(ledger, batch(END))
    assert ([], (1, 10, 20)) == (await in_flight(ledger), await total(ledger))
    (of_charge, of_correction) = (change.changes for change in (await ledger.changes("team", 0, 10)).changes[1:])
    assert [("L1", 1, 100, 200), ("", 0, -90, -180)] == [
        (part.lease, part.requests, part.prompt_tokens, part.completion_tokens) for part in of_charge + of_correction
    ]


async def test_a_charge_that_comes_after_the_end_changes_nothing(ledger: SqlLedger) -> None:
    await post(ledger, batch(started=[started()]))
    await post(ledger, batch(END))
    await post(ledger, batch(reservation(), gateway=""))
    assert ([], (1, 10, 20)) == (await in_flight(ledger), await total(ledger))


async def test_a_charge_of_a_request_in_the_ledger_takes_it_out_of_flight(ledger: SqlLedger) -> None:
    """Its record did not name it as started, so it would expire at every sweep."""
    await post(ledger, batch(started=[started()]))
    await post(ledger, batch(record()))
    await post(ledger, batch(reservation(), gateway=""))
    assert ([], (1, 10, 20)) == (await in_flight(ledger), await total(ledger))


async def test_old_rows_go_and_their_sums_stay(ledger: SqlLedger) -> None:
    batches = [batch(*(record(f"r{number}-{at}") for at in range(2))) for number in range(3)]
    await post(ledger, *batches)
    await post(ledger, batch(record("new")), now=LATER)
    before = PruneBefore(*[LATER.milliseconds] * 3)
    assert [3, 3, 0] == [await ledger.prune(before, 3) for _ in range(3)]
    assert (7, 70, 140) == await total(ledger)
    assert 7 == (await ledger.window_sums("team", "tom", "qwen", NOW)).use.minute_requests


async def test_one_call_deletes_a_bounded_number_of_the_oldest_rows_of_each_kind(
    ledger: SqlLedger, database: Database
) -> None:
    """A long transaction would hold up those that charge."""
    for number in range(3):
        await post(ledger, batch(record(f"r{number}"), started=[started(f"open{number}")]))
    await post(ledger, batch(*(reservation(f"open{number}") for number in range(3)), gateway=""))
    assert 2 == await ledger.prune(PruneBefore(*[LATER.milliseconds] * 3), 2)

    def rows(connection: sa.Connection) -> list[int]:
        tables = (ENTRIES, BATCHES, CHANGES, OPEN)
        return [len(connection.execute(table.select()).all()) for table in tables]

    oldest = sa.select(sa.func.min(ENTRIES.c.seq))
    assert [4, 2, 2, 1] == await database.read(rows)
    assert 5 == await database.read(lambda connection: connection.execute(oldest).scalar_one())


async def test_a_batch_is_known_for_as_long_as_its_id_is_kept(ledger: SqlLedger) -> None:
    first = batch(record("r1"))
    await post(ledger, first)
    await ledger.prune(PruneBefore(LATER.milliseconds, NOW.milliseconds, LATER.milliseconds), 10)
    await post(ledger, first)
    assert (1, 10, 20) == await total(ledger)


async def test_the_newest_change_of_each_namespace_stays(ledger: SqlLedger) -> None:
    for number in range(3):
        await post(ledger, batch(record(f"a{number}")), batch(record(f"b{number}"), namespace="other"))
    newest = [(await ledger.changes(name, 0, 10)).changes[-1] for name in ("team", "other")]
    await ledger.prune(PruneBefore(0, 0, LATER.milliseconds), 100)
    assert newest == [change for name in ("team", "other") for change in (await ledger.changes(name, 0, 10)).changes]
    assert {"team": newest[0].seq, "other": newest[1].seq} == await ledger.heads()
    assert newest[0].previous_seq > 0
    await post(ledger, batch(record("next")))
    assert newest[0].seq == (await ledger.changes("team", newest[0].seq, 10)).changes[0].previous_seq


async def test_changes_that_a_reader_lacks_show_in_the_number_before_them(ledger: SqlLedger) -> None:
    for number in range(3):
        await post(ledger, batch(record(f"r{number}")), now=Moment(NOW.milliseconds + number))
    first, second, _ = (await ledger.changes("team", 0, 10)).changes
    await ledger.prune(PruneBefore(0, 0, NOW.milliseconds + 2), 100)
    (remaining,) = (await ledger.changes("team", first.seq, 10)).changes
    assert remaining.previous_seq == second.seq > first.seq


async def test_charged_requests_go_with_their_entries_and_others_stay(ledger: SqlLedger, database: Database) -> None:
    await post(ledger, batch(started=[started("r1"), started("r2")]))
    await post(ledger, batch(reservation("r1"), gateway=""))
    assert 1 == await ledger.prune(PruneBefore(LATER.milliseconds, 0, 0), 10)
    assert 0 == await ledger.prune(PruneBefore(LATER.milliseconds, 0, 0), 10)
    assert [("r2",)] == await database.read(lambda connection: connection.execute(sa.select(OPEN.c.request_id)).all())
