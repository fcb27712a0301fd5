from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from arks.kit.errors import Unavailable
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters.ledger import SqlLedger
from arks.token_quota.domain.batch import UsageBatch
from arks.token_quota.domain.change import LeaseChange
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.metering.context import MeteringContext
from arks.token_quota.service.metering.projector import Projector
from arks.token_quota.service.metering.sweeper import Sweeper
from arks.token_quota.testing.fakes import FakeCounters, Harness
from arks.token_quota.testing.usage import FakeUsageStream, batch, record, reservation, started

Running = Callable[[Any], AbstractAsyncContextManager[None]]
IngestBatches = Callable[..., Awaitable[None]]
Total = Callable[[], Awaitable[tuple[int, int, int]]]
RESERVATION_SECONDS = 600


@dataclass
class Sweeps:
    sweeper: Sweeper
    projector: Projector
    stream: FakeUsageStream
    counters: FakeCounters
    clock: FakeClock

    async def sweep(self, *, after_seconds: int = RESERVATION_SECONDS + 1) -> list[UsageBatch]:
        """Returns the charges."""
        self.clock.advance(after_seconds)
        before = len(self.stream.published)
        await self.sweeper.sweep()
        return self.stream.published[before:]

    async def applied(self) -> list[LeaseChange]:
        """What the counters got from the ledger."""
        await self.projector.bring_forward("team")
        return [part for change in self.counters.applied for part in change.changes]


@pytest.fixture
def sweeps(context: MeteringContext, projector: Projector, counters: FakeCounters, clock: FakeClock) -> Sweeps:
    stream = FakeUsageStream()
    sweeper = Sweeper(context, projector, stream, interval_seconds=0.001, reservation_seconds=RESERVATION_SECONDS)
    return Sweeps(sweeper, projector, stream, counters, clock)


async def test_a_request_without_usage_is_charged_its_reservation(
    sweeps: Sweeps, ingest: IngestBatches, harness: Harness, total: Total
) -> None:
    await ingest(batch(started=[started()]))
    (charge,) = await sweeps.sweep()
    assert ([reservation(duration_milliseconds=0, status_code=0)], "", "team") == (
        charge.records,
        charge.gateway,
        charge.namespace,
    )
    await ingest(charge)
    assert (1, 100, 200) == await total()
    (part,) = await sweeps.applied()
    assert ("L1", 1, 100, 200) == (part.lease, part.requests, part.reserved_prompt_tokens, part.completion_tokens)
    assert 1 == harness.metric("arks_reservations_charged_total")
    assert [] == await sweeps.sweep()


async def test_a_request_without_a_lease_is_charged_to_none(
    sweeps: Sweeps, ingest: IngestBatches, total: Total
) -> None:
    await ingest(batch(started=[started(lease="-")]))
    (charge,) = await sweeps.sweep()
    await ingest(charge)
    assert (1, 100, 200) == await total()
    (part,) = await sweeps.applied()
    assert ("", 1, 200) == (part.lease, part.requests, part.completion_tokens)


async def test_a_request_is_not_charged_before_its_time(sweeps: Sweeps, ingest: IngestBatches) -> None:
    await ingest(batch(started=[started()]))
    assert [] == await sweeps.sweep(after_seconds=RESERVATION_SECONDS)


async def test_a_sweep_makes_one_batch_of_each_namespace_with_the_same_id_every_time(
    sweeps: Sweeps, ingest: IngestBatches, total: Total
) -> None:
    await ingest(
        batch(started=[started("r1"), started("r2")]),
        batch(started=[started("r3")], namespace="other"),
    )
    charges = await sweeps.sweep()
    assert ["other", "team"] == [charge.namespace for charge in charges]
    assert charges == await sweeps.sweep()
    await ingest(*charges, *charges)
    assert (3, 300, 600) == await total()


async def test_a_true_record_that_comes_late_replaces_the_charge(
    sweeps: Sweeps, ingest: IngestBatches, total: Total
) -> None:
    await ingest(batch(started=[started()]))
    await ingest(*await sweeps.sweep())
    await ingest(batch(record(was_reported_started=True)))
    assert (1, 10, 20) == await total()
    parts = await sweeps.applied()
    assert (1, 10, 20) == (
        sum(part.requests for part in parts),
        sum(part.prompt_tokens for part in parts),
        sum(part.completion_tokens for part in parts),
    )


async def test_a_request_whose_usage_is_known_is_not_charged(sweeps: Sweeps, ingest: IngestBatches) -> None:
    await ingest(batch(started=[started()]), batch(record(was_reported_started=True)))
    assert [] == await sweeps.sweep()


async def test_while_the_stream_is_away_expired_requests_wait(
    sweeps: Sweeps, ingest: IngestBatches, running: Running
) -> None:
    await ingest(batch(started=[started()]))
    sweeps.stream.away = True
    with pytest.raises(Unavailable):
        await sweeps.sweep()
    async with running(sweeps.sweeper.run()):
        await eventually(lambda: sweeps.stream.refused > 2)
        sweeps.stream.away = False
        await eventually(lambda: sweeps.stream.published)


async def test_lost_leases_of_all_namespaces_return(sweeps: Sweeps, ledger: SqlLedger, noon: Moment) -> None:
    """Those with tokens, and those whose counters follow the ledger although their tokens are deleted."""
    sweeps.counters.lost_leases = {"team": 2, "deleted": 1}
    await ledger.post([batch(record(), namespace="deleted")], lambda *_: "", noon)
    await sweeps.projector.bring_forward("deleted")
    await sweeps.sweep()
    assert {} == sweeps.counters.lost_leases
