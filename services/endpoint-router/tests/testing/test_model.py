"""Decisions in the closed loop: the model of endpoints under load."""

import random
from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.endpoint_router.testing.model import (
    Engine,
    Envoy,
    Model,
    Policy,
    Result,
    by_load,
    fixed_shares,
    least_request,
)

FLOOR_SECONDS = 0.081
"""Time to the first token of the slow replica when it is idle."""


def table() -> list[Engine]:
    fast = [Engine(16, 0.175, 0.021) for _ in range(3)]
    return [*fast, Engine(4, 0.7, FLOOR_SECONDS)]


def alike(number: int = 4) -> list[Engine]:
    return [Engine(16, 0.175, 0.021) for _ in range(number)]


def four_kinds() -> list[Engine]:
    kinds = ((8, 0.175, 0.02), (8, 0.2625, 0.03), (4, 0.35, 0.04), (2, 0.7, 0.08))
    return [Engine(*kind) for kind in kinds for _ in range(2)]


def configured(engines: list[Engine]) -> list[Engine]:
    """Return them with their slots known."""
    return [replace(engine, configured_slots=engine.slots) for engine in engines]


def heavy_tailed(random_: random.Random) -> float:
    """Return a length of mean 1: one in a hundred is longer than 6."""
    return random_.lognormvariate(-0.5, 1.0)


def exponential(random_: random.Random) -> float:
    return random_.expovariate(1.0)


def even(_: random.Random) -> float:
    return 1.0


def group_shares(result: Result, replica: int) -> list[tuple[float, float]]:
    """Return (time, share of all traffic) of a replica."""
    return [
        (at, decision.candidates[replica].weight / sum(candidate.weight for candidate in decision.candidates))
        for at, decision in result.decisions
    ]


def share_at(result: Result, replica: int, time: float) -> float:
    return [share for at, share in group_shares(result, replica) if at <= time][-1]


def test_envoy_divides_between_localities_by_weight_and_inside_one_by_requests_in_flight() -> None:
    envoy = Envoy(random.Random(1))  # noqa: S311
    envoy.configure({"a": (900, [0, 1]), "b": (100, [2])})
    picks = [envoy.pick().replica for _ in range(1_000)]
    assert 98 <= picks.count(2) <= 102
    assert abs(picks.count(0) - picks.count(1)) <= 1


def test_requests_that_a_replica_had_before_it_changed_its_locality_do_not_count_there() -> None:
    envoy = Envoy(random.Random(1))  # noqa: S311
    envoy.configure({"a": (1, [0])})
    before = envoy.pick()
    envoy.configure({"b": (1, [0])})
    assert (before.active, envoy.pick().active) == (1, 1)
    before.active -= 1
    assert envoy.pick().active == 2


@pytest.mark.parametrize("load", [0.71, 0.91])
@pytest.mark.parametrize("engines", [table, lambda: configured(table())], ids=["unknown", "known"])
@pytest.mark.parametrize("envoys", [1, 2])
def test_unlike_replicas_make_few_wait_from_a_cold_start(
    load: float, engines: Callable[[], list[Engine]], envoys: int
) -> None:
    found = Model(engines(), load, seed=3, envoys=envoys).run()
    plain = Model(table(), load, seed=3, envoys=envoys, policy=least_request).run()
    assert found.percentile(0.99) < 2 * FLOOR_SECONDS
    assert found.percentile(0.99) < 0.1 * plain.percentile(0.99)


def test_near_the_limit_requests_wait_far_less_than_with_least_request() -> None:
    found = Model(table(), 0.96, seed=0).run()
    plain = Model(table(), 0.96, seed=0, policy=least_request).run()
    assert found.percentile(0.99) < 0.1 * plain.percentile(0.99)


@pytest.mark.parametrize(
    ("load", "lengths", "known", "unknown"),
    [
        (0.91, even, 1.4, 1.6),
        (0.96, even, 1.4, 1.4),
        (0.91, heavy_tailed, 1.2, 1.2),
        (0.96, heavy_tailed, 1.2, 1.2),
    ],
)
def test_eight_replicas_of_four_kinds_make_few_wait_longer_than_with_the_best_fixed_shares(
    load: float, lengths: Callable[[random.Random], float], known: float, unknown: float
) -> None:
    def p99(policy: Policy, seed: int, engines: list[Engine]) -> float:
        run = Model(engines, load, seed=seed, seconds=30.0, envoys=2, policy=policy, lengths=lengths)
        return run.run().percentile(0.99)

    def best(seed: int) -> float:
        return min(p99(fixed_shares(four_kinds(), each), seed, four_kinds()) for each in (0.6, 0.8, 0.96))

    limits = [best(seed) for seed in range(3)]
    for engines, bound in ((four_kinds, unknown), (lambda: configured(four_kinds()), known)):
        assert mean(p99(by_load, seed, engines()) / limit for seed, limit in enumerate(limits)) <= bound


@pytest.mark.parametrize("slots", [64, 256])
def test_slots_that_memory_does_not_hold_are_no_worse_than_unknown_ones(slots: int) -> None:
    def waits(slots: int) -> float:
        engines = [replace(engine, configured_slots=slots) for engine in four_kinds()]
        return Model(engines, 0.91, seed=1, envoys=2).run().percentile(0.99)

    assert waits(slots) <= 1.1 * waits(0)


SLOWED_AT, RECOVERED_AT = 20.0, 26.0
REPORTED_AT = SLOWED_AT + 0.25
"""The latest time of the first report after it slowed down."""


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.3, 0.6, 0.75]),
    st.sampled_from([(0.24, 16), (4.0, 160)]),
    st.sampled_from([even, exponential, heavy_tailed]),
)
@settings(max_examples=6)
def test_a_replica_that_slows_down_loses_its_share_half_a_second_after_the_first_report_and_has_it_back_in_five(
    seed: int, load: float, request: tuple[float, int], lengths: Callable[[random.Random], float]
) -> None:
    seconds, tokens = request
    engines = [Engine(16, seconds, 0.1 * seconds, request_tokens=tokens) for _ in range(4)]
    engines[3].slowdowns = ((SLOWED_AT, 4.0), (RECOVERED_AT, 1.0))
    found = Model(engines, load, seed=seed, seconds=RECOVERED_AT + 6, lengths=lengths).run()
    steady = [share for at, share in group_shares(found, 3) if 10 < at < SLOWED_AT]
    assert all(share == pytest.approx(0.25, abs=0.01) for share in steady)
    assert share_at(found, 3, REPORTED_AT + 0.5) <= 0.08
    assert all(share <= 0.1 for at, share in group_shares(found, 3) if REPORTED_AT + 0.5 < at < RECOVERED_AT)
    assert share_at(found, 3, RECOVERED_AT + 5) >= 0.2


@given(st.integers(0, 10_000), st.sampled_from([0.4, 0.71, 0.91]), st.booleans())
@settings(max_examples=15)
def test_shares_of_a_steady_load_do_not_oscillate(seed: int, load: float, exponential: bool) -> None:
    def length(random_: random.Random) -> float:
        return random_.expovariate(1.0) if exponential else 1.0

    found = Model(table(), load, seed=seed, seconds=20.0, lengths=length).run()
    slow = [share for at, share in group_shares(found, 3) if at > 8.0]
    assert all(share < 0.05 for share in slow)
    assert 5 > len({tuple(c.group for c in decision.candidates) for at, decision in found.decisions if at > 8.0})


@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.91]))
@settings(max_examples=10)
def test_replicas_that_are_alike_stay_one_group(seed: int, load: float) -> None:
    found = Model(alike(), load, seed=seed, lengths=lambda random_: random_.expovariate(1.0)).run()
    assert {1} == {len(decision.groups) for at, decision in found.decisions if at > 5.0} or len(found.decisions) < 3
