"""Loads over time: requests a second, and the requests that follow from them."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HOUR = 3600.0
Rate = Callable[[float], float]
"""Requests a second at a time in seconds."""


@dataclass(slots=True)
class Request:
    at: float
    tokens: int
    seconds: float
    """In a slot."""
    first_token_seconds: float = math.inf
    """From its arrival; infinite until it has a slot."""


@dataclass(frozen=True, slots=True)
class Scenario:
    text: str
    seconds: float
    rate: Rate
    start_seconds: float = 120.0
    replicas: int = 2
    """At the begin."""
    crowd_at: float | None = None
    fault: str = ""
    """frozen, zero or absent, in the second half."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Every replica is alike."""

    slots: int = 8
    first_seconds: float = 0.4
    """Until a first token, in a slot."""
    tokens: int = 200
    """Of a request, in the mean."""
    token_seconds: float = 0.05
    objective_seconds: float = 2.0

    @property
    def requests_per_second(self) -> float:
        return self.slots / (self.first_seconds + self.tokens * self.token_seconds)


ENGINE = Engine()


def _daily(peak: float) -> Rate:
    """Lowest at 4 h, two humps at 11 h and 16 h."""

    def rate(at: float) -> float:
        hour = at / HOUR % 24
        humps = math.exp(-(((hour - 11) / 2.6) ** 2)) + 0.9 * math.exp(-(((hour - 16.5) / 2.8) ** 2))
        return peak * (0.12 + 0.82 * min(1.0, humps))

    return rate


def _bursts(at: float) -> float:
    return 3.0 if at % 1800 < 1500 else 9.0


def _crowd(at: float) -> float:
    return 1.0 if at < HOUR else 10.0


SCENARIOS = {
    "day": Scenario("a day, 2 to 17 requests/s", 24 * HOUR, _daily(17.0)),
    "bursts": Scenario("3 requests/s, every half hour 9 for 5 minutes", 4 * HOUR, _bursts, replicas=5),
    "crowd": Scenario("1 request/s, after an hour 10 at once", 2 * HOUR, _crowd, crowd_at=HOUR),
    "frozen": Scenario("pages stand still after an hour", 2 * HOUR, lambda _: 6.0, replicas=9, fault="frozen"),
    "zero": Scenario("pages of zeros after an hour", 2 * HOUR, lambda _: 6.0, replicas=9, fault="zero"),
    "absent": Scenario("no pages after an hour", 2 * HOUR, lambda _: 6.0, replicas=9, fault="absent"),
}


@dataclass(slots=True)
class Arrivals:
    """Poisson arrivals of a scenario, the same for the same seed."""

    scenario: Scenario
    seed: int
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311  # a load, not a secret

    def __iter__(self) -> Iterator[Request]:
        highest = max(self.scenario.rate(at) for at in range(0, int(self.scenario.seconds), 60))
        at = 0.0
        while (at := at + self.chance.expovariate(highest)) < self.scenario.seconds:
            if self.chance.random() * highest < self.scenario.rate(at):
                tokens = 1 + int(self.chance.expovariate(1 / ENGINE.tokens))
                yield Request(at, tokens, ENGINE.first_seconds + tokens * ENGINE.token_seconds)
