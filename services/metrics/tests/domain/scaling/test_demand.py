"""How much work arrives."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from arks.metrics.domain.scaling.demand import History, demand, observe, slot_speed, throughput
from arks.metrics.domain.scaling.observed import Observed


def after(looks: Sequence[tuple[float, float]]) -> tuple[History, Observed]:
    """(finished since the last look, in flight), each 5 s; 50 tokens a request."""
    history, finished, seen = History(), 0.0, Observed(0.0, 1)
    for step, (ended, in_flight) in enumerate(looks):
        finished += ended
        seen = Observed(step * 5.0, 1, in_flight=in_flight, waiting=0.0, finished=finished, tokens=finished * 50)
        history = observe(history, seen)
    return history, seen


def test_requests_that_ended_and_those_in_flight_have_arrived() -> None:
    found = demand(*after([(0, 0)] + [(5, 0)] * 40), 0.0)
    assert found is not None
    assert 50.0 == found.now
    stuck = demand(*after([(0, step * 5) for step in range(41)]), 0.0)
    assert stuck is not None
    assert 1.0 == stuck.now  # a request a second; its tokens are not known yet


def test_nothing_is_expected_before_it_was_observed_for_a_while() -> None:
    assert demand(*after([(5, 0)] * 3), 0.0) is None


def test_a_steady_load_has_no_trend() -> None:
    found = demand(*after([(5, 1), (4, 1), (6, 1)] * 50), 600.0)
    assert found is not None
    assert found.now == found.ahead


def test_a_burst_is_what_chance_does_not_explain() -> None:
    chance, crowd = after([(5, 0)] * 40 + [(7, 0)] * 4), after([(5, 0)] * 40 + [(25, 0)] * 4)
    found = demand(*chance, 0.0), demand(*crowd, 0.0)
    assert [False, True] == [each.burst for each in found if each is not None]


def test_a_crowd_counts_at_its_first_look_and_with_room_for_what_has_queued() -> None:
    found = demand(*after([(5, 0)] * 40 + [(5, 45)]), 0.0)
    assert found is not None
    requests = found.now / 50
    assert 8.0 < requests < 10.0  # of 10 a second, less what may be chance
    assert 1.2 * found.now == found.ahead


def test_one_look_that_may_be_chance_is_no_crowd() -> None:
    found = demand(*after([(5, 0)] * 40 + [(5, 8)]), 0.0)
    assert found is not None
    assert not found.burst


def test_speed_of_a_slot_is_tokens_over_the_time_of_slots_in_use() -> None:
    assert 5.0 == slot_speed(after([(0, 10)] + [(5, 10)] * 60)[0])


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000)), min_size=1, max_size=400))
def test_history_is_bounded_and_rates_are_never_negative(looks: list[tuple[float, float]]) -> None:
    history, seen = after(looks)
    assert len(history.points) <= 62
    found = demand(history, seen, 100.0)
    assert found is None or 0 <= found.now <= found.ahead
    assert (throughput(history, 60.0) or 0.0) >= 0
