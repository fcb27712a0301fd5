"""Speed from counters, and how soon a change is noticed."""

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.domain.slots import ObservedSlots
from arks.endpoint_router.domain.speed import Sample, Speed, Work

STEP_SECONDS = 0.2


def worked(speed: Speed, seconds: float, pace: float, slots: float = 16.0, tokens: float = 16) -> Speed:
    """Return the speed after some time in which each slot finishes `pace` requests of so many tokens a second."""
    for _ in range(round(seconds / STEP_SECONDS)):
        done = slots * STEP_SECONDS * pace
        speed = speed.after(Sample(STEP_SECONDS, slots * STEP_SECONDS, tokens * done, done))
    return speed


def test_speed_is_known_after_a_few_requests() -> None:
    assert not worked(Speed(), 0.2, pace=1.0).known
    assert 16.0 == pytest.approx(worked(Speed(), 0.4, pace=1.0, slots=16.0).tokens_per_slot)


def test_speed_is_known_before_the_first_request_ends_where_tokens_are_counted_as_they_are_made() -> None:
    speed = Speed()
    for _ in range(3):
        speed = speed.after(Sample(0.2, 0.8, 8.0, 0.0))
    assert speed.known
    assert pytest.approx(10.0) == speed.tokens_per_slot


def test_a_busy_replica_that_slows_down_four_times_is_noticed_within_two_readings() -> None:
    steady = worked(Speed(), 30.0, pace=5.7)
    assert 5.7 / 4 == pytest.approx(worked(steady, 0.4, pace=5.7 / 4).requests_per_slot, rel=0.1)


def test_long_requests_that_slow_down_four_times_are_noticed_in_two_readings_by_their_tokens() -> None:
    steady = worked(Speed(), 30.0, 0.25, slots=10, tokens=160)
    slowed = worked(steady, 0.4, 0.0625, slots=10, tokens=160)
    assert 0.0625 == pytest.approx(slowed.requests_per_slot, rel=0.01)
    recovered = worked(worked(slowed, 5.0, 0.0625, slots=10, tokens=160), 0.4, 0.25, slots=10, tokens=160)
    assert 0.25 == pytest.approx(recovered.requests_per_slot, rel=0.01)


def test_one_slow_reading_is_no_change() -> None:
    steady = worked(Speed(), 30.0, pace=0.25, slots=10, tokens=160)
    stalled = worked(worked(steady, 0.2, pace=0.01, slots=10, tokens=160), 0.2, pace=0.25, slots=10, tokens=160)
    assert stalled.earlier is None


def test_readings_that_always_differ_are_no_change() -> None:
    random_, speed, changes = random.Random(1), Speed(), 0  # noqa: S311
    for _ in range(2_000):
        speed = worked(speed, 0.2, pace=0.25 * random_.choice([0.2, 1.0, 3.0]), slots=10, tokens=160)
        changes += speed.earlier is not None
    assert changes == 0


def test_a_replica_with_little_traffic_that_has_its_earlier_speed_again_is_noticed_within_seconds() -> None:
    slowed = worked(worked(Speed(), 30.0, pace=5.7), 10.0, pace=5.7 / 4)
    assert 5.7 == pytest.approx(worked(slowed, 4.0, pace=5.7, slots=0.2).requests_per_slot, rel=0.1)


def test_a_replica_that_slowed_down_counts_as_fallen_until_it_recovers() -> None:
    steady = worked(Speed(), 30.0, pace=5.7)
    slowed = worked(steady, 1.0, pace=5.7 / 4)
    assert (False, True, False) == (steady.fallen, slowed.fallen, worked(slowed, 2.0, pace=5.7).fallen)


def test_requests_of_random_length_are_no_change() -> None:
    random_, speed, changes = random.Random(1), Speed(), 0  # noqa: S311
    for _ in range(2_000):
        lengths = sum(random_.expovariate(1.0) for _ in range(3))
        speed = speed.after(Sample(lengths / 16, lengths, 48.0, 3.0))
        changes += speed.earlier is not None
    assert changes == 0


works = st.builds(
    lambda seconds, slots, pace, length, ends: Sample(
        seconds, slots * seconds, slots * seconds * pace * length, slots * seconds * pace * ends
    ),
    seconds=st.sampled_from([0.2, 0.25, 1.0]),
    slots=st.sampled_from([0.0, 0.5, 4.0, 16.0]),
    pace=st.sampled_from([0.25, 0.3, 0.5, 1.0, 4.0]),
    length=st.sampled_from([0.0, 16.0, 160.0]),
    ends=st.sampled_from([0.0, 1.0]),
)


@given(st.lists(st.tuples(works, st.integers(1, 30)), max_size=12))
def test_batches_that_are_not_read_show_no_other_speed(runs: list[tuple[Sample, int]]) -> None:
    samples = [sample for sample, times in runs for _ in range(times)]
    found = list(accumulate(samples, Speed.after, initial=Speed()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Speed, "_is_usual", lambda *_: False)
        assert list(accumulate(samples, Speed.after, initial=Speed())) == found


def test_requests_that_wait_show_the_slots_and_more_running_requests_correct_them() -> None:
    first = ObservedSlots().after(4, 0, 0.0).after(4, 3, 0.2)
    assert (4, 6) == (first.full_at, first.after(6, 0, 0.2).full_at)


def test_a_request_that_waits_for_a_moment_shows_nothing() -> None:
    assert not ObservedSlots().after(16, 1, 0.2).known


def test_slots_that_long_requests_occupy_are_fewer_after_some_time() -> None:
    slots = ObservedSlots().after(16, 8, 0.2)
    for _ in range(500):
        slots = slots.after(8, 8, 0.2)
    assert slots.full_at is not None
    assert slots.full_at < 9


def test_work_too_little_to_compare_is_no_speed() -> None:
    assert Work(seconds=60.0, slot_seconds=1e12, amount=1e-313).per_slot is None
