"""From measurements to replicas, with reasons."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.metrics.domain.scaling.capacity import Capacity
from arks.metrics.domain.scaling.decision import Decision, Memory, Why, decide
from arks.metrics.domain.scaling.observed import Observed
from arks.metrics.domain.scaling.policy import Objectives, Pace, Policy
from arks.metrics.domain.scaling.schedule import Bounds

FIRST_TOKEN = Objectives(first_token_seconds=1.0)
POLICY = Policy(1, 20, FIRST_TOKEN)
MEASURED = Memory(capacity=Capacity(speed=10.0, slots=10.0))
"""100 tokens/s a full replica."""
REQUEST_TOKENS = 100


def play(
    policy: Policy,
    requests_per_second: Sequence[tuple[float, float]],
    *,
    memory: Memory = MEASURED,
    current: int = 2,
    bounds: Bounds | None = None,
    **seen: object,
) -> tuple[Memory, Decision, int]:
    """Decisions each 5 s under loads, given as (seconds, requests/s); replicas are ready at once."""
    at = finished = 0.0
    decision = Decision(current, Why.STEADY, "")
    for seconds, rate in requests_per_second:
        for _ in range(int(seconds / 5)):
            at += 5
            finished += rate * 5
            observed = Observed(at, current, in_flight=rate * 10, waiting=0.0, finished=finished, slots=10 * current)
            observed = replace(observed, tokens=finished * REQUEST_TOKENS, **seen)  # type: ignore[arg-type]
            memory, decision = decide(
                policy, bounds or Bounds(policy.minimum, policy.maximum), memory, observed, current
            )
            current = decision.replicas
    return memory, decision, current


def test_replicas_follow_the_load_with_room_for_chance() -> None:
    assert 6 == play(POLICY, [(600, 4.0)])[2]  # 4 full replicas, and 0.75 times their root


def test_slots_without_memory_of_their_own_show_no_capacity() -> None:
    unknown = Memory(capacity=Capacity(speed=10.0))
    for reserved, slots in ((True, 10.0), (False, None)):
        memory, _, _ = play(POLICY, [(600, 4.0)], memory=unknown, slots_reserved=reserved)
        assert slots == memory.capacity.slots


def test_a_large_application_needs_a_smaller_part_as_room() -> None:
    assert play(Policy(1, 100, FIRST_TOKEN), [(600, 16.0)])[2] in {19, 20}  # and not 24


def test_a_crowd_is_answered_at_the_first_look_that_shows_it() -> None:
    memory, _, before = play(POLICY, [(600, 1.0)])
    seen = Observed(605, before, in_flight=60.0, waiting=40.0, finished=605.0, tokens=60500.0, slots=10 * before)
    _, decision = decide(POLICY, Bounds(1, 20), memory, seen, before)
    assert Why.LOAD is decision.why
    assert decision.replicas > 2 * before


def test_a_rising_load_is_met_before_it_is_there() -> None:
    rising = [(10, 2.0 + step / 100) for step in range(230)]
    slow = play(POLICY, rising, memory=replace(MEASURED, start_seconds=600.0))[2]
    assert slow > play(POLICY, rising, memory=replace(MEASURED, start_seconds=1.0))[2]


def test_fewer_only_after_the_window_of_scale_down() -> None:
    assert 6 == play(POLICY, [(600, 4.0), (250, 1.0)])[2]
    assert 2 == play(POLICY, [(600, 4.0), (900, 1.0)])[2]


def test_a_number_at_the_limit_does_not_swing() -> None:
    loads = [(300, 4.0), (300, 3.9)] * 10
    seen = set()
    memory, current = MEASURED, 6
    at = finished = 0.0
    for seconds, rate in loads:
        for _ in range(int(seconds / 5)):
            at, finished = at + 5, finished + rate * 5
            observed = Observed(
                at, current, in_flight=rate * 10, waiting=0.0, finished=finished, tokens=finished * 100, slots=60
            )
            memory, decision = decide(POLICY, Bounds(1, 20), memory, observed, current)
            current = decision.replicas
            seen.add(current)
    assert {6} == seen


IDLE = play(POLICY, [(1200, 0.1)])[0]
some = st.one_of(st.none(), st.floats(0, 1e6))
doubtful = st.builds(
    Observed,
    st.just(1300.0),
    st.integers(0, 20),
    in_flight=some,
    waiting=some,
    finished=st.floats(0, 1e9),
    doubt=st.just("page is frozen"),
)
absent = st.builds(Observed, st.just(1300.0), st.integers(1, 20), waiting=some, finished=st.floats(0, 1e9))


@given(st.one_of(doubtful, absent), st.integers(0, 20))
def test_doubtful_or_missing_signals_never_remove_a_replica(seen: Observed, current: int) -> None:
    _, decision = decide(POLICY, Bounds(0, 40), IDLE, seen, current)
    assert decision.replicas >= current
    assert Why.DOUBT is decision.why


@given(
    st.integers(0, 5),
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 12), st.floats(0, 500), st.floats(0, 50), st.booleans()), max_size=20),
)
def test_the_number_is_always_within_its_bounds(
    lowest: int, more: int, looks: list[tuple[int, float, float, bool]]
) -> None:
    bounds, memory, current, finished = Bounds(lowest, max(1, lowest + more)), Memory(), lowest, 0.0
    for step, (ready, in_flight, ended, doubted) in enumerate(looks):
        finished += ended
        seen = Observed(
            step * 5.0, ready, in_flight=in_flight, waiting=in_flight / 2, finished=finished, tokens=finished * 50
        )
        memory, decision = decide(POLICY, bounds, memory, replace(seen, doubt="x" if doubted else ""), current)
        assert bounds.minimum <= decision.replicas <= bounds.maximum or decision.why is Why.DOUBT
        current = decision.replicas


def test_doubt_begins_the_window_of_scale_down_anew() -> None:
    memory, _, current = play(POLICY, [(600, 4.0), (250, 1.0)])
    memory, _ = decide(POLICY, Bounds(1, 20), memory, Observed(855, current, doubt="absent"), current)
    finished = 4.0 * 600 + 255
    for step in range(20):
        seen = Observed(
            860 + step * 5, current, in_flight=10.0, waiting=0.0, finished=finished + step * 5, tokens=1e5 + step * 500
        )
        memory, decision = decide(POLICY, Bounds(1, 20), memory, seen, current)
        assert current == decision.replicas


def test_a_missed_objective_adds_a_replica_once_and_then_waits_for_it() -> None:
    memory, decision, current = play(POLICY, [(300, 1.0)], first_token_seconds=1.5)
    assert "150% of a target" in decision.message
    assert 2 < current <= 2 + 300 // 120 + 1
    assert memory.capacity.room > MEASURED.capacity.room


def test_the_largest_need_wins() -> None:
    both = replace(POLICY, objectives=Objectives(first_token_seconds=1.0, slot_use_ratio=0.25))
    assert 8 == play(both, [(600, 2.0)])[2]


def test_tokens_a_second_replace_the_measured_capacity() -> None:
    fixed = replace(POLICY, objectives=Objectives(tokens_per_second=50.0))
    assert 8 == play(fixed, [(600, 4.0)], memory=Memory())[2]


@pytest.mark.parametrize(
    ("bounds", "expected", "why"), [(Bounds(1, 3), 3, Why.MAXIMUM), (Bounds(9, 20), 9, Why.MINIMUM)]
)
def test_bounds_limit_the_number_and_are_the_reason(bounds: Bounds, expected: int, why: Why) -> None:
    _, decision, _ = play(POLICY, [(600, 4.0)], bounds=bounds)
    assert (expected, why) == (decision.replicas, decision.why)
    assert ("needed" in decision.limited) == (why is Why.MAXIMUM)


def test_steps_bound_a_change() -> None:
    paced = replace(POLICY, up=Pace(0.0, step=1, step_seconds=60.0))
    assert 4 == play(paced, [(115, 10.0)])[2]


def test_the_last_replica_of_an_idle_application_goes_if_none_is_the_minimum() -> None:
    idle = replace(POLICY, minimum=0, idle_seconds=120.0)
    assert 1 == play(idle, [(60, 0.2), (100, 0.0)], current=1)[2]
    _, decision, current = play(idle, [(60, 0.2), (200, 0.0)], current=1)
    assert (0, Why.IDLE) == (current, decision.why)
    assert 1 == play(POLICY, [(60, 0.2), (2000, 0.0)], current=1)[2]


def test_a_request_that_waits_wakes_an_application_at_zero() -> None:
    idle = replace(POLICY, minimum=0)
    memory, decision, current = play(idle, [(60, 0.0)], current=0)
    assert (0, Why.IDLE) == (current, decision.why)
    _, woken = decide(idle, Bounds(0, 20), memory, Observed(70, 0, refused=1.0), 0)
    assert (1, Why.WAKE) == (woken.replicas, woken.why)
    _, held = decide(idle, Bounds(0, 20), memory, Observed(70, 0, held=3), 0)
    assert (1, Why.WAKE) == (held.replicas, held.why)


def test_a_replica_that_starts_is_waited_for() -> None:
    idle = replace(POLICY, minimum=0, idle_seconds=30.0)
    memory, _, _ = play(idle, [(60, 0.0)], current=0)
    memory, _ = decide(idle, Bounds(0, 20), memory, Observed(70, 0, refused=1.0), 0)
    for step in range(60):
        memory, decision = decide(idle, Bounds(0, 20), memory, Observed(75 + 5 * step, 0, starting=1, refused=1.0), 1)
        assert (1, Why.STARTING) == (decision.replicas, decision.why)
