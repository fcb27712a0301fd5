from arks.kit.backoff import Backoff
from arks.local.plan.programs import FULL_DISK_BYTES
from arks.local.supervisor.unit import after_failed_write, restart_delay_seconds


def test_the_first_restart_is_immediate_and_later_delays_double_up_to_a_bound() -> None:
    backoff = Backoff(first_seconds=0.2, longest_seconds=10)
    assert [0, 0.2, 0.4, 0.8] == [restart_delay_seconds(failures, backoff) for failures in (1, 2, 3, 4)]
    assert 10 == restart_delay_seconds(1000, backoff)


def test_a_program_that_takes_no_writes_starts_again_once_its_disk_has_room() -> None:
    assert ("takes no writes: its disk is full", False) == after_failed_write(FULL_DISK_BYTES - 1)
    assert ("takes no writes since one failed", True) == after_failed_write(FULL_DISK_BYTES)
