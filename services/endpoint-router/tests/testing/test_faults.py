"""Wrong metrics in the closed loop, as a table: which fault, at which replicas, from the start or later.

ARKS_SEEDS sets how many runs each cell has (nightly: 100).
"""

import os
from collections import deque
from collections.abc import Callable
from functools import cache

import pytest

from arks.endpoint_router.domain.native import Reading
from arks.endpoint_router.testing.model import Engine, Lie, Model, Result, least_request

SEEDS = range(1, 1 + int(os.environ.get("ARKS_SEEDS", "1")))
PROMPT_SECONDS = 1.0
"""A request with its first token by then counts as good."""
LATER = 5.0


def frozen() -> Lie:
    kept: list[Reading] = []

    def lie(now: float, truth: Reading) -> Reading:
        kept.append(truth)
        return kept[0].at(now)

    return lie


def late() -> Lie:
    """Numbers of 10 s ago on a page of now."""
    kept: deque[Reading] = deque()

    def lie(now: float, truth: Reading) -> Reading:
        kept.append(truth)
        while len(kept) > 1 and kept[1].measured_at <= now - 10:
            kept.popleft()
        return kept[0].at(now)

    return lie


FAULTS: dict[str, Callable[[], Lie]] = {
    "frozen": frozen,
    "zero": lambda: lambda now, truth: Reading(now, 0, 0, tokens_total=0, finished_total=0),
    "not a number": lambda: lambda now, truth: Reading(now, float("nan"), float("nan")),
    "negative": lambda: lambda now, truth: Reading(now, -3, -1, tokens_total=-5, finished_total=-1),
    "absent": lambda: lambda now, truth: None,
    "10 s late": late,
    "10 s old": lambda: lambda now, truth: truth.at(now - 10),
}
LIARS = {"a fast replica": (0,), "the slow replica": (3,), "two of them": (1, 3), "all": (0, 1, 2, 3)}


def engines() -> list[Engine]:
    return [*(Engine(16, 0.175, 0.021) for _ in range(3)), Engine(4, 0.7, 0.081)]


def good(result: Result) -> float:
    times = result.first_token_seconds
    return sum(seconds <= PROMPT_SECONDS for seconds in times) / len(times)


def shares(result: Result) -> list[float]:
    return [count / sum(result.served) for count in result.served]


@cache
def healthy(load: float, seed: int) -> Result:
    return Model(engines(), load, seed=seed).run()


@cache
def plain(load: float, seed: int) -> Result:
    return Model(engines(), load, seed=seed, policy=least_request).run()


@pytest.mark.parametrize("since", [0.0, LATER], ids=["from a cold start", "later"])
@pytest.mark.parametrize("liars", LIARS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_metrics_starve_no_replica_make_no_herd_and_cost_little_goodput(
    seed: int, fault: str, liars: str, since: float
) -> None:
    load = 0.91 if seed % 2 else 0.71

    def begun(lie: Lie) -> Lie:
        return lambda now, truth: lie(now, truth) if now >= since else truth

    replicas = engines()
    for liar in LIARS[liars]:
        replicas[liar].lie = begun(FAULTS[fault]())
    found = Model(replicas, load, seed=seed).run()
    bounds = healthy(load, seed), plain(load, seed)
    assert good(found) >= 0.95 * min(map(good, bounds))
    for share, *others in zip(shares(found), *map(shares, bounds), strict=True):
        assert share >= 0.25 * min(others)  # no starvation
        assert share <= 1.25 * max(others) + 0.01  # no herd
