"""Requests that wait at the gateway, by who holds them."""

from arks.metrics.domain.scaling.held import HeldRequests


def test_holders_are_summed_and_only_the_first_that_wait_are_new() -> None:
    held = HeldRequests()
    assert held.take("one", 3, 0.0)
    assert not held.take("two", 2, 1.0)
    assert 5 == held.count(1.0)
    assert not held.take("one", 0, 1.5)
    assert 2 == held.count(1.5)


def test_a_holder_that_has_ended_does_not_count_for_long() -> None:
    held = HeldRequests()
    held.take("one", 3, 0.0)
    assert 0 == held.count(10.0)
    assert held.take("two", 1, 10.0)
