import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from arks.kit.backoff import Backoff
from arks.kit.errors import Unavailable
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually
from arks.token_quota.domain.wire import decode
from arks.token_quota.programs.shipper import ship
from arks.token_quota.programs.shipper.segments import Segments
from arks.token_quota.programs.shipper.ship import Outgoing, Shipper, ShipperMetrics

LINE = "{}\t1795254321.123\t532\t41\t200\t-\t127.0.0.1:9001\tcompletions\t0\tteam/qwen/tom/100/512\te,21,53\n"


class FakePublisher:
    def __init__(self) -> None:
        self.taken: list[Outgoing] = []
        self.called = asyncio.Event()
        self.away = 0
        """Calls that fail from now on."""

    async def publish(self, records: Sequence[Outgoing]) -> list[Outgoing]:
        self.called.set()
        if self.away:
            self.away -= 1
            self.taken.extend(records[:1])
            return list(records[1:])
        self.taken.extend(records)
        return []


class FakeGateway:
    def __init__(self, log: Path) -> None:
        self.log = log
        self.down = False
        self.requested = 0

    async def reopen_log(self) -> None:
        self.requested += 1
        if self.down:
            raise Unavailable("no answer")
        self.log.touch()


class ShipperHarness:
    def __init__(self, tmp_path: Path, clock: FakeClock, *, rotate_bytes: int = 10**9, max_bytes: int = 10**9) -> None:
        self.log = tmp_path / "usage.log"
        self.publisher, self.gateway = FakePublisher(), FakeGateway(self.log)
        self.registry = CollectorRegistry()
        self.segments = Segments(self.log, monotonic=clock.monotonic)
        self.shipper = Shipper(
            self.segments,
            self.publisher,
            self.gateway,
            ShipperMetrics(self.registry),
            clock,
            rotate_bytes=rotate_bytes,
            max_total_bytes=max_bytes,
        )

    def write(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(text)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    @property
    def shipped(self) -> list[str]:
        return [record.request_id for record in self.publisher.taken]


@pytest.fixture
def harness(tmp_path: Path, clock: FakeClock) -> ShipperHarness:
    return ShipperHarness(tmp_path, clock)


async def test_each_line_becomes_a_record_of_its_tenant(harness: ShipperHarness) -> None:
    harness.write(LINE.format("r1"))
    assert await harness.shipper.step()
    (record,) = harness.publisher.taken
    assert ("arks.usage.team.tom", "r1", 53) == (
        record.subject,
        record.request_id,
        decode(record.payload).completion_tokens,
    )
    assert not await harness.shipper.step()


async def test_bad_lines_are_counted_and_the_others_shipped(harness: ShipperHarness) -> None:
    harness.write(LINE.format("r1") + "garbage\n\n" + LINE.format("r2"))
    with harness.log.open("ab") as file:
        file.write(b"\xff\xfe\t\n")
    await harness.shipper.step()
    assert ["r1", "r2"] == harness.shipped
    assert 1 == harness.metric("arks_shipper_bad_lines_total", column="number of columns")
    assert 1 == harness.metric("arks_shipper_bad_lines_total", column="encoding")


async def test_what_nats_did_not_take_is_sent_again_until_it_does(
    harness: ShipperHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship, "BACKOFF", Backoff(0.0, 0.0))
    harness.publisher.away = 3
    harness.write("".join(LINE.format(f"r{n}") for n in range(5)))
    await harness.shipper.step()
    assert [f"r{n}" for n in range(5)] == harness.shipped
    assert (3, 5) == (harness.metric("arks_shipper_retries_total"), harness.metric("arks_shipper_records_total"))


async def test_a_shipper_killed_before_the_acknowledgement_ships_again(
    harness: ShipperHarness, clock: FakeClock
) -> None:
    harness.publisher.away = 10**9
    harness.write(LINE.format("r1") + LINE.format("r2"))
    killed = asyncio.create_task(harness.shipper.step())
    await harness.publisher.called.wait()
    killed.cancel()
    after = ShipperHarness(harness.log.parent, clock)
    await after.shipper.step()
    assert ["r1", "r2"] == after.shipped


async def test_a_long_log_is_rotated_drained_and_deleted(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=250)
    harness.write("".join(LINE.format(f"r{n}") for n in range(3)))
    await harness.shipper.step()
    assert (1, 1) == (harness.gateway.requested, harness.metric("arks_shipper_rotations_total"))
    harness.write(LINE.format("r3"))
    for _ in range(3):
        await harness.shipper.step()
        clock.advance(1.0)
    await harness.shipper.step()
    assert ["r0", "r1", "r2", "r3"] == harness.shipped
    assert [harness.log] == harness.segments.all()


async def test_reopening_is_retried_until_envoy_answers(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=50)
    harness.gateway.down = True
    harness.write(LINE.format("r0"))
    await harness.shipper.step()
    harness.gateway.down = False
    clock.advance(1.0)
    await harness.shipper.step()
    assert 2 == harness.gateway.requested
    assert harness.log.exists()


async def test_beyond_its_bound_the_oldest_log_is_dropped_and_counted(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, max_bytes=200)
    for number in range(3):
        harness.write(LINE.format(f"r{number}"))
        harness.segments.rotate()
    harness.log.touch()
    size = harness.segments.total_bytes() // 3
    await harness.shipper.step()
    assert ["r1"] == harness.shipped[:1]
    assert size == harness.metric("arks_shipper_dropped_bytes_total")


async def test_lag_is_measured_in_bytes(harness: ShipperHarness) -> None:
    harness.write(LINE.format("r1"))
    assert len(LINE.format("r1")) == harness.metric("arks_shipper_lag_bytes")
    await harness.shipper.step()
    assert 0 == harness.metric("arks_shipper_lag_bytes")


async def test_what_is_in_the_log_at_the_end_is_still_shipped(harness: ShipperHarness) -> None:
    harness.write("".join(LINE.format(f"r{n}") for n in range(3)))
    running = asyncio.create_task(harness.shipper.run())
    await asyncio.wait_for(harness.publisher.called.wait(), 30)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    harness.write(LINE.format("late"))
    await harness.shipper.finish(5.0)
    assert ["r0", "r1", "r2", "late"] == harness.shipped


async def test_the_end_waits_for_a_segment_that_was_put_aside_just_now(
    harness: ShipperHarness, clock: FakeClock
) -> None:
    harness.write(LINE.format("r1"))
    harness.segments.rotate()
    harness.write(LINE.format("r2"))
    finishing = asyncio.create_task(harness.shipper.finish(5.0))

    def done() -> bool:
        clock.advance(0.5)
        return finishing.done()

    await eventually(done, within_seconds=4.0, what="the end")
    assert ["r1", "r2"] == harness.shipped


async def test_the_end_does_not_wait_for_a_nats_that_stays_away(harness: ShipperHarness) -> None:
    harness.publisher.away = 10**9
    harness.write("".join(LINE.format(f"r{n}") for n in range(3)))
    await asyncio.wait_for(harness.shipper.finish(0.05), 30)
    assert len(harness.shipped) < 3
