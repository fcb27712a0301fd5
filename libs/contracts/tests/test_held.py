"""Requests that wait at the gateway, by who holds them."""

from arks.contracts.held import HeldRequests


def test_holders_are_summed_and_only_the_first_that_wait_are_new() -> None:
    held = HeldRequests()
    assert held.take("one", 3, 0.0)
    assert not held.take("two", 2, 1.0)
    assert 5 == held.count(1.0)
    assert not held.take("one", 0, 1.5)
    assert 2 == held.count(1.5)


def test_the_longest_wait_of_all_holders_counts() -> None:
    held = HeldRequests()
    held.take("one", 3, 10.0, seconds=2.0)
    held.take("two", 1, 11.0, seconds=7.0)
    assert 8.0 == held.seconds(12.0)
    held.take("two", 0, 12.0)
    assert 4.0 == held.seconds(12.0)
    held.take("one", 0, 12.0)
    assert 0.0 == held.seconds(12.0)


def test_a_holder_that_has_ended_does_not_count_for_long() -> None:
    held = HeldRequests()
    held.take("one", 3, 0.0)
    assert 0 == held.count(10.0)
    assert held.take("two", 1, 10.0)
