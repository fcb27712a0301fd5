"""The end of the shipper: what is in the log is still shipped."""

import asyncio

import pytest

from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.domain.batch import ClosedLease
from arks.token_quota.testing.shipper import (
    ShipperHarness,
)


async def test_what_is_in_the_log_at_the_end_is_still_shipped(harness: ShipperHarness) -> None:
    harness.end("r0", "r1")
    running = asyncio.create_task(harness.shipper.run())
    await asyncio.wait_for(harness.publisher.called.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    harness.end("late")
    await harness.shipper.finish(5.0)
    assert ["r0", "r1", "late"] == harness.shipped


@pytest.mark.parametrize("lives", [True, False])
async def test_the_end_closes_leases_only_when_envoy_has_ended(harness: ShipperHarness, lives: bool) -> None:
    harness.gateway.down = not lives
    harness.lease("lease1", 3)
    harness.start("r1", "lease1")
    await harness.shipper.finish(5.0)
    assert ([] if lives else [ClosedLease("lease1", 2, 20, 40)]) == harness.closed
    assert ([] if lives else ["r1"]) == [started.request_id for started in harness.started]
    if lives:
        harness.start_shipper()
        await harness.pass_lease_end()
        assert [ClosedLease("lease1", 2, 20, 40)] == harness.closed


async def test_the_end_publishes_what_waited_for_nats_before_it_closes_leases(harness: ShipperHarness) -> None:
    harness.publisher.dead = True
    for number in range(3):
        harness.end(f"r{number}", namespace=f"team{number}")
    harness.lease("lease1", 3)
    running = asyncio.create_task(harness.shipper.run())
    await asyncio.wait_for(harness.publisher.called.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    harness.publisher.dead = False
    harness.gateway.down = True
    await harness.shipper.finish(5.0)
    assert ["r0", "r1", "r2"] == harness.shipped
    assert ["lease1"] == [closed.lease for closed in harness.closed]


async def test_the_end_waits_for_a_segment_that_was_put_aside_just_now(
    harness: ShipperHarness, clock: FakeClock
) -> None:
    harness.end("r1")
    harness.ends.rotate()
    harness.end("r2")
    finishing = asyncio.create_task(harness.shipper.finish(5.0))

    def done() -> bool:
        clock.advance(0.5)
        return finishing.done()

    await eventually(done, within_seconds=4.0, what="the end")
    assert ["r1", "r2"] == harness.shipped


async def test_the_end_does_not_wait_for_a_nats_that_stays_away(harness: ShipperHarness) -> None:
    harness.publisher.dead = True
    for number in range(3):
        harness.end(f"r{number}", namespace=f"team{number}")
    await asyncio.wait_for(harness.shipper.finish(0.05), 30)
    assert [] == harness.shipped
