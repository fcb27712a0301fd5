"""When a rollout goes on, ends or is taken back."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.domain.rollout import Phase, Plan, Rollout, Sample, advance, begin, judge

NOW = 1_000_000.0
PLAN = Plan("b", (5, 25, 50), step_seconds=60, minimum_requests=100, error_points=1, slower_percent=20)
START = begin(PLAN, NOW)


def sample(requests: int = 400, errors: int = 0, first: float = 0.1, gap: float = 0.01, seed: int = 0) -> Sample:
    """Return requests with lognormal times of these medians."""
    random_ = random.Random(seed)  # noqa: S311  # a simulation
    times = [random_.lognormvariate(0, 0.8) for _ in range(requests)]
    return Sample(requests, errors, [first * time for time in times], [gap * time for time in times])


OTHERS = sample(seed=1)


def test_a_canary_that_is_no_worse_goes_through_all_steps_and_gets_everything() -> None:
    rollout, seen = START, [START.percent]
    for step in range(1, 4):
        rollout = advance(PLAN, rollout, sample(seed=step + 2), OTHERS, NOW + 60 * step)
        seen.append(rollout.percent)
    assert ([5, 25, 50, 100], Phase.PROMOTED) == (seen, rollout.phase)


def test_a_step_takes_its_time_and_its_requests() -> None:
    assert (5, 0) == (advance(PLAN, START, sample(), OTHERS, NOW + 59).percent, START.step)
    few = advance(PLAN, START, sample(99), OTHERS, NOW + 600)
    assert (5, "99 requests of the canary and 400 of the others have ended; each needs 100") == (
        few.percent,
        few.message,
    )


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        (sample(errors=40), "10.0% server errors against 0.0%"),
        (sample(first=0.2), "time to first token"),
        (sample(gap=0.02), "time between tokens"),
    ],
)
def test_a_canary_that_is_worse_is_taken_back_at_once(canary: Sample, words: str) -> None:
    rollout = advance(PLAN, START, canary, OTHERS, NOW + 1)
    assert (Phase.ROLLED_BACK, 0, True) == (rollout.phase, rollout.percent, rollout.message.startswith(words))


def test_what_strikes_both_sides_takes_nothing_back() -> None:
    assert not judge(PLAN, sample(errors=60, first=3.0), sample(errors=60, first=3.0, seed=1)).worse


def test_a_fast_side_with_few_requests_is_not_taken_back_by_chance() -> None:
    worse = sum(judge(PLAN, sample(100, seed=seed), sample(100, seed=seed + 5_000)).worse for seed in range(300))
    assert worse <= 6


def test_commands_win_over_measurements() -> None:
    bad = sample(errors=300)
    assert Phase.PROMOTED is advance(replace(PLAN, command="Promote"), START, bad, OTHERS, NOW).phase
    aborted = advance(replace(PLAN, command="Abort"), START, sample(), OTHERS, NOW + 600)
    assert (Phase.ROLLED_BACK, 0) == (aborted.phase, aborted.percent)
    assert aborted == advance(PLAN, aborted, sample(), OTHERS, NOW + 900)


counts = st.integers(0, 500).flatmap(lambda requests: st.tuples(st.just(requests), st.integers(0, requests)))


@given(counts, counts, st.floats(0.01, 10), st.floats(0, 1_000))
def test_a_share_never_jumps_over_a_step(
    canary: tuple[int, int], others: tuple[int, int], first: float, seconds: float
) -> None:
    after = advance(PLAN, START, sample(*canary, first=first), sample(*others, seed=1), NOW + seconds)
    assert isinstance(after, Rollout)
    assert after.percent in {0, 5, 25}
    assert (after.percent == 25) <= (seconds >= 60)
