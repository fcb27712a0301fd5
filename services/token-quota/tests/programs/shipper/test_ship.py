"""What the shipper makes of the lines of the usage log."""

import asyncio

import pytest

from arks.token_quota.domain import lease_book
from arks.token_quota.domain.lease_book import CLOSE_MARGIN_MILLISECONDS
from arks.token_quota.domain.wire import decode
from arks.token_quota.programs.shipper import ship
from arks.token_quota.testing.shipper import ShipperHarness, append


async def test_each_line_becomes_a_record_in_the_batch_of_its_namespace(harness: ShipperHarness) -> None:
    harness.end("r1", "r2")
    harness.end("r3", namespace="other")
    await harness.shipper.step()
    found = {batch.namespace: [record.request_id for record in batch.records] for batch in harness.batches}
    assert {"team": ["r1", "r2"], "other": ["r3"]} == found
    assert ["arks.usage.team", "arks.usage.other"] == [message.subject for message in harness.publisher.sent]
    assert ["gw", "gw"] == [batch.gateway for batch in harness.batches]
    assert all(message.id == decode(message.payload).id for message in harness.publisher.sent)
    await harness.shipper.step()
    assert 2 == len(harness.publisher.sent)


async def test_bad_lines_are_counted_and_the_others_shipped(harness: ShipperHarness) -> None:
    harness.end("r1")
    append(harness.log, "garbage\n\n")
    harness.end("r2")
    with harness.log.open("ab") as file:
        file.write(b"\xff\xfe\t\n")
    append(harness.starts_log, "X\tgarbage\n")
    await harness.shipper.step()
    assert ["r1", "r2"] == harness.shipped
    for column in ("number of columns", "encoding", "kind of start"):
        assert 1 == harness.metric("arks_shipper_bad_lines_total", column=column)


@pytest.mark.parametrize("start", ["inf", "1e400", "nan", "-1", "yesterday"])
async def test_a_last_line_with_a_damaged_time_stops_nothing(harness: ShipperHarness, start: str) -> None:
    harness.end("r1")
    append(harness.log, f"r2\t{start}\t5\t0\t200\t-\t-\tcompletions\t0\tteam/qwen/tom/-/1/2\te,3,4\n")
    await harness.shipper.step()
    assert ["r1"] == harness.shipped


async def test_what_nats_did_not_take_is_sent_again_with_the_same_ids_until_it_does(harness: ShipperHarness) -> None:
    harness.publisher.away = 3
    for number in range(5):
        harness.end(f"r{number}", namespace=f"team{number}")
    await harness.shipper.step()
    assert [f"r{number}" for number in range(5)] == harness.shipped
    assert 5 == len({message.id for message in harness.publisher.sent})
    assert (3, 5) == (harness.metric("arks_shipper_retries_total"), harness.metric("arks_shipper_records_total"))


async def test_large_flushes_are_split_and_only_the_last_part_carries_the_time(
    harness: ShipperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_book, "BATCH_RECORDS", 2)
    harness.lease("lease1")
    await harness.pass_lease_end()
    harness.publisher.sent.clear()
    harness.end(*(f"r{number}" for number in range(5)))
    await harness.shipper.step()
    assert [2, 2, 1] == [len(batch.records) for batch in harness.batches]
    until = harness.now - CLOSE_MARGIN_MILLISECONDS
    assert [0, 0, until] == [batch.complete_until_milliseconds for batch in harness.batches]


async def test_the_last_part_waits_for_the_acknowledgement_of_the_others(
    harness: ShipperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_book, "BATCH_RECORDS", 1)
    harness.publisher.away = 2
    harness.end("r1", "r2", "r3", "r4")
    await harness.shipper.step()
    assert ["r1", "r2", "r3", "r4"] == harness.shipped
    assert harness.publisher.sent[-1].id.endswith(".3")
    assert 1 == sum(message.id.endswith(".3") for message in harness.publisher.sent)


async def test_the_flush_after_a_large_one_comes_later(
    harness: ShipperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship, "BATCH_RECORDS", 2)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            raise asyncio.CancelledError
        harness.end(*(f"r{len(pauses)}-{at}" for at in range((0, 2, 1, 0)[len(pauses)])))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await harness.shipper.run()
    assert [ship.FLUSH_SECONDS, ship.LARGE_FLUSH_SECONDS, ship.FLUSH_SECONDS, ship.FLUSH_SECONDS] == pauses


async def test_one_flush_ships_all_lines_of_a_busy_moment(harness: ShipperHarness) -> None:
    ids = [f"r{number}" for number in range(5000)]
    harness.end(*ids)
    assert not await harness.shipper.step()
    assert ids == harness.shipped
