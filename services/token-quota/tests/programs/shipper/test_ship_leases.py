"""Leases: when the shipper closes them, and what it reports of requests in flight."""

from itertools import pairwise

from arks.token_quota.domain.batch import ClosedLease, StartedRequest
from arks.token_quota.domain.lease_book import CLOSE_MARGIN_MILLISECONDS, HEARTBEAT_MILLISECONDS, QUIET_MILLISECONDS
from arks.token_quota.testing.shipper import LEASE_MILLISECONDS, ShipperHarness, append


async def test_a_lease_is_closed_once_with_what_no_request_took(harness: ShipperHarness) -> None:
    harness.lease("lease1", 3)
    harness.start("r1", "lease1")
    harness.end("r1", lease="lease1")
    await harness.shipper.step()
    assert [] == harness.closed
    harness.clock.advance((LEASE_MILLISECONDS + CLOSE_MARGIN_MILLISECONDS - 1) / 1000)
    await harness.shipper.step()
    assert [] == harness.closed
    harness.clock.advance(0.001)
    await harness.shipper.step()
    assert [ClosedLease("lease1", 2, 20, 40)] == harness.closed
    assert [] == harness.started
    await harness.pass_lease_end()
    assert 1 == len(harness.closed)


async def test_a_request_in_flight_at_the_closing_is_reported_once_and_its_record_is_marked(
    harness: ShipperHarness,
) -> None:
    harness.lease("lease1", 3)
    harness.start("r1", "lease1")
    started_at = harness.now
    await harness.pass_lease_end()
    assert [StartedRequest("r1", "tom", "qwen", "completions", "lease1", started_at, 10, 20)] == harness.started
    harness.end("r1", lease="lease1")
    await harness.pass_lease_end()
    (record,) = [record for batch in harness.batches for record in batch.records]
    assert ("r1", True, 1) == (record.request_id, record.was_reported_started, len(harness.started))


async def test_a_request_that_ended_in_its_lease_is_not_reported_as_started(harness: ShipperHarness) -> None:
    harness.lease("lease1")
    harness.start("r1", "lease1")
    harness.end("r1", lease="lease1")
    await harness.pass_lease_end()
    (record,) = [record for batch in harness.batches for record in batch.records]
    assert (False, []) == (record.was_reported_started, harness.started)


async def test_a_start_with_a_time_in_the_future_does_not_hide_later_starts(harness: ShipperHarness) -> None:
    harness.lease("lease1", 3)
    append(harness.starts_log, f'["S","r1","lease1",10,20,"completions",{harness.now + 10**9}]\n')
    await harness.shipper.step()
    harness.start("r2", "lease1")
    await harness.pass_lease_end()
    assert [ClosedLease("lease1", 1, 10, 20)] == harness.closed


async def test_heartbeats_follow_the_last_lease_until_lost_ones_have_returned(harness: ShipperHarness) -> None:
    harness.lease("lease1")
    end = harness.now + LEASE_MILLISECONDS
    await harness.pass_lease_end()
    for _ in range(80):
        harness.clock.advance(1.0)
        await harness.shipper.step()
    times = [batch.complete_until_milliseconds for batch in harness.batches]
    assert times == sorted(times)
    assert all(after - before <= HEARTBEAT_MILLISECONDS for before, after in pairwise(times))
    assert end + QUIET_MILLISECONDS < times[-1] <= end + QUIET_MILLISECONDS + HEARTBEAT_MILLISECONDS
