"""Rotation of the logs, and the bound of what they take on the disk."""

from pathlib import Path

import pytest

from arks.kit.testing.clock import FakeClock
from arks.token_quota.domain.batch import ClosedLease
from arks.token_quota.programs.shipper.segments import SETTLE_SECONDS
from arks.token_quota.programs.shipper.state import StateFile
from arks.token_quota.testing.shipper import Killed, ShipperHarness


async def test_long_logs_are_rotated_drained_and_deleted(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=150)
    harness.lease("lease1", 10)
    for number in range(4):
        harness.start(f"r{number}", "lease1")
        harness.end(f"r{number}", lease="lease1")
    await harness.shipper.step()
    assert (1, 2) == (harness.gateway.requested, harness.metric("arks_shipper_rotations_total"))
    harness.start("r4", "lease1")
    harness.end("r4", lease="lease1")
    for _ in range(5):
        await harness.shipper.step()
        clock.advance(1.0)
    assert [f"r{number}" for number in range(5)] == harness.shipped
    assert [ClosedLease("lease1", 5, 50, 100)] == harness.closed
    assert ([harness.log], [harness.starts_log]) == (harness.ends.all(), harness.starts.all())


@pytest.mark.parametrize("kill", ["before", "after"])
async def test_a_rotated_log_is_deleted_only_after_the_state_moved_past_it(
    tmp_path: Path, clock: FakeClock, kill: str
) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=50)
    harness.end("r0")
    await harness.shipper.step()
    await harness.shipper.step()
    aside = harness.log.with_name("usage.log.1")
    harness.end("r1")
    clock.advance(SETTLE_SECONDS)
    harness.state_file.kill = kill
    with pytest.raises(Killed):
        await harness.shipper.step()
    harness.kill()
    assert aside.exists()
    assert (kill == "before") == (inode_of_ends(harness) == aside.stat().st_ino)
    harness.start_shipper()
    for _ in range(4):
        await harness.shipper.step()
        clock.advance(SETTLE_SECONDS)
    assert ["r0", "r1"] == harness.shipped
    assert not aside.exists()


def inode_of_ends(harness: ShipperHarness) -> int:
    """The file in which a new shipper would go on."""
    position = StateFile(harness.log).load().ends
    assert position is not None
    return position.inode


async def test_a_dropped_log_is_deleted_only_after_the_state_moved_past_it(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock)
    harness.end("r0")
    await harness.shipper.step()
    harness.ends.rotate()
    harness.end("r1")
    harness.kill()
    harness.max_bytes = harness.log.stat().st_size
    harness.start_shipper()
    harness.state_file.kill = "before"
    with pytest.raises(Killed):
        await harness.shipper.step()
    assert harness.log.with_name("usage.log.1").exists()
    harness.kill()
    harness.start_shipper()
    await harness.shipper.step()
    assert ["r0", "r1"] == harness.shipped
    assert not harness.log.with_name("usage.log.1").exists()


async def test_reopening_is_retried_until_envoy_answers(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, rotate_bytes=50)
    harness.gateway.down = True
    harness.end("r0")
    await harness.shipper.step()
    harness.gateway.down = False
    clock.advance(1.0)
    await harness.shipper.step()
    assert 2 == harness.gateway.requested
    assert harness.log.exists()


async def test_beyond_its_bound_the_oldest_log_is_dropped_and_counted(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock, max_bytes=250)
    for number in range(3):
        harness.end(f"r{number}")
        harness.ends.rotate()
    harness.log.touch()
    size = harness.ends.total_bytes() // 3
    await harness.shipper.step()
    assert ["r1"] == harness.shipped[:1]
    assert size == harness.metric("arks_shipper_dropped_bytes_total")


async def test_the_bound_holds_for_both_files_together(tmp_path: Path, clock: FakeClock) -> None:
    harness = ShipperHarness(tmp_path, clock)
    for number in range(3):
        harness.end(f"r{number}")
        harness.ends.rotate()
        harness.lease(f"lease{number}")
        harness.starts.rotate()
    harness.log.touch()
    harness.starts_log.touch()
    harness.max_bytes = harness.ends.total_bytes() * 2 // 3 + harness.starts.total_bytes()
    harness.start_shipper()
    await harness.shipper.step()
    assert ["usage.log.2", "usage.log.3", "usage.log"] == [path.name for path in harness.ends.all()]
    assert 4 == len(harness.starts.all())
    assert 0 < (harness.metric("arks_shipper_dropped_bytes_total") or 0)
    assert harness.ends.total_bytes() + harness.starts.total_bytes() <= harness.max_bytes


async def test_lag_is_measured_in_bytes_of_both_files(harness: ShipperHarness) -> None:
    harness.end("r1")
    harness.lease("lease1")
    written = harness.log.stat().st_size + harness.starts_log.stat().st_size
    assert written == harness.metric("arks_shipper_lag_bytes")
    await harness.shipper.step()
    assert 0 == harness.metric("arks_shipper_lag_bytes")
