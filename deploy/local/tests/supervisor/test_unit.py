from arks.kit.backoff import Backoff
from arks.local.supervisor.unit import restart_delay_seconds


def test_the_first_restart_is_immediate_and_later_delays_double_up_to_a_bound() -> None:
    backoff = Backoff(first_seconds=0.2, longest_seconds=10)
    assert [0, 0.2, 0.4, 0.8] == [restart_delay_seconds(failures, backoff) for failures in (1, 2, 3, 4)]
    assert 10 == restart_delay_seconds(1000, backoff)
