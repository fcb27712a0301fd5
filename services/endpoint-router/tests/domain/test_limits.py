import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.domain.native import LEAST_REQUESTS, RETRY_AFTER_STEPS, Limits, limits

REPLICAS = st.lists(
    st.tuples(st.integers(0, 512), st.floats(0, 1e6), st.none() | st.floats(0, 1e6)),
)


def replicas(*slots: int) -> list[tuple[int, float, float | None]]:
    """Return replicas without a queue."""
    return [(count, 0.0, None) for count in slots]


def test_eight_requests_a_slot_may_be_in_flight() -> None:
    assert 8 * (16 + 4) == limits(replicas(16, 4)).requests


def test_few_slots_still_take_a_burst() -> None:
    assert LEAST_REQUESTS == limits(replicas(1)).requests


def test_unknown_slots_of_one_replica_mean_no_limit() -> None:
    assert limits(replicas(16, 0)).requests is None
    assert limits([]).requests is None


@pytest.mark.parametrize(
    ("waiting", "drain_rate", "seconds"), [(20, 0.5, 1), (60, 40.0, 2), (60, 7.0, 10), (60, 0.1, 60), (60, None, 5)]
)
def test_a_client_returns_once_the_queue_has_drained(waiting: float, drain_rate: float | None, seconds: int) -> None:
    assert seconds == limits([(8, waiting, drain_rate)]).retry_after_seconds


def test_drain_rates_of_replicas_add_up() -> None:
    assert 5 == limits([(8, 60, 10.0), (8, 40, 15.0)]).retry_after_seconds


@pytest.mark.parametrize(
    ("slots", "percent"),
    [([8], 100), ([8, 8], 100), ([8, 8, 8, 8], 50), ([8] * 8, 25), ([0] * 8, 25), ([64, 8, 8, 8, 8], 100)],
)
def test_retries_are_as_many_as_the_loss_of_the_largest_replica_needs(slots: list[int], percent: int) -> None:
    assert percent == limits(replicas(*slots)).retry_percent


@given(REPLICAS)
def test_limits_of_any_replicas_are_usable(found: list[tuple[int, float, float | None]]) -> None:
    given = limits(found)
    assert isinstance(given, Limits)
    assert given.retry_after_seconds in RETRY_AFTER_STEPS
    assert given.requests is None or given.requests >= max(LEAST_REQUESTS, sum(slots for slots, _, _ in found))
