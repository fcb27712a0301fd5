from arks.app_deployer.domain.repairs import CALM_SECONDS, Repairs
from arks.kit.key import Key

KEY, OTHER = Key("default", "app"), Key("default", "other")


def test_the_first_repair_does_not_wait_and_each_of_the_next_waits_twice_as_long() -> None:
    repairs, now, waits = Repairs(), 100.0, []
    for _ in range(10):
        now += (wait := repairs.wait_seconds(KEY, now))
        waits.append(wait)
        assert 0 == repairs.wait_seconds(KEY, now)
        repairs.repaired(KEY, now)
    assert [0, 2, 4, 8, 16, 32, 64, 128, 256, 300] == waits
    assert 0 == repairs.wait_seconds(OTHER, now)


def test_time_that_passes_counts_towards_the_wait() -> None:
    repairs = Repairs()
    assert 2 == repairs.repaired(KEY, 10)
    assert 1.5 == repairs.wait_seconds(KEY, 10.5)
    assert 0 == repairs.wait_seconds(KEY, 12)


def test_a_change_after_a_calm_time_counts_as_the_first() -> None:
    repairs = Repairs()
    for now in (0, 10, 20):
        repairs.repaired(KEY, now)
    assert 0 == repairs.wait_seconds(KEY, 20 + CALM_SECONDS)
    assert 2 == repairs.repaired(KEY, 20 + CALM_SECONDS)


def test_a_forgotten_child_starts_anew() -> None:
    repairs = Repairs()
    repairs.repaired(KEY, 0)
    repairs.forget(KEY)
    assert 0 == repairs.wait_seconds(KEY, 0)
