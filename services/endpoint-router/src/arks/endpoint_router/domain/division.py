"""Divide the traffic of one application between groups of alike replicas, so that requests wait least.

Each group is a queue with c servers (the slots of all its replicas, because Envoy sends each request to the replica
with the fewest in flight) that work at speed v each. For M/M/c the mean number of waiting requests is about

    L(r) = r^sqrt(2 (c + 1)) / (1 - r)        r = load / (c v)

(H. Sakasegawa, "An approximation formula Lq = a r^b / (1 - r)", Annals of the Institute of Statistical Mathematics 29,
1977). The sum over all groups is convex, so it is least where one more request costs the same in every group that gets
any: dL/dload = const. For c = 1 this is the square-root rule (J. Buzen and P. Chen, "Optimal load balancing in memory
hierarchies", IFIP 1974): spare capacity in proportion to the square root of capacity. A slow or small group gets less
than its proportion: nearly nothing while the others have room, and its full proportion at the limit.

To the waiting is added a part of the service time (FIRST_TOKEN): without it nothing would distinguish a slow group from
a fast one while neither queues, and a client waits for the first token in both.

Arrivals at a group with a small share are more regular than Poisson's, because Envoy interleaves localities; so it
queues less than assumed here. For 3 replicas of 16 slots x 175 ms and one of 4 slots x 700 ms this gives the slow one
1.2 % of the traffic at 91 % load, which is what measurement found best.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

FIRST_TOKEN = 0.1
"""The part of a request's service time that counts like waiting: about the time to the first token."""
LEAST_LOAD = 0.3
"""Below this utilisation nothing queues, and a more exact load only makes shares noisy."""
GREATEST_LOAD = 0.98
"""Above this utilisation queues are endless in the model, and shares are nearly those of capacity."""
PROBE_PART = 0.08
"""The least share of a group, as a part of its proportion by capacity: so that its speed stays known."""
_LEAST_PRICE, _GREATEST_PRICE = 1e-4, 1e8
_HALVINGS = 40
"""Of the interval of prices, in logarithms: more exact than any weight."""
_GRID = tuple(1 - (1 - number / 512) ** 2 for number in range(512))
"""Utilisations at which the growth of a queue is tabulated, denser towards 1."""

Group = tuple[float, float]
"""(slots, speed of a slot in any unit)"""


def divide(groups: Sequence[Group], utilisation: float, probes: Sequence[float] | None = None) -> tuple[float, ...]:
    """Return the share of each group; they add up to 1.

    `utilisation`: load divided by capacity of all. `probes`: least share of each group, as a part of its proportion by
    capacity; None: PROBE_PART for all.
    """
    if len(groups) == 1:
        return (1.0,)
    bounded = round(min(max(utilisation, LEAST_LOAD), GREATEST_LOAD), 2)
    fastest = max(speed for _, speed in groups)
    rounded = tuple((max(1.0, round(slots)), float(f"{speed / fastest:.2g}")) for slots, speed in groups)
    return _divide(rounded, bounded, tuple(probes or [PROBE_PART] * len(groups)))


@lru_cache(maxsize=4096)
def _divide(scaled: tuple[Group, ...], utilisation: float, probes: tuple[float, ...]) -> tuple[float, ...]:
    """Solve for rounded arguments: one load report is like the one before it."""
    capacity = math.fsum(slots * speed for slots, speed in scaled)
    low, high = _LEAST_PRICE, _GREATEST_PRICE
    for _ in range(_HALVINGS):
        price = math.sqrt(low * high)
        if math.fsum(_loads(scaled, price)) < utilisation * capacity:
            low = price
        else:
            high = price
    loads = _loads(scaled, high)
    total = math.fsum(loads)
    probed = [
        max(load / total, probe * slots * speed / capacity)
        for load, probe, (slots, speed) in zip(loads, probes, scaled, strict=True)
    ]
    total = math.fsum(probed)
    return tuple(share / total for share in probed)


def _loads(groups: Sequence[Group], price: float) -> list[float]:
    """Return the load of each group at which one more request costs `price`."""
    return [slots * speed * _utilisation(slots, slots * (speed * price - FIRST_TOKEN)) for slots, speed in groups]


def _utilisation(slots: float, marginal: float) -> float:
    """Return the utilisation of a group at which its queue grows by `marginal` a unit of load; 0 if it never does."""
    if marginal <= 0:
        return 0.0
    growths = _growths(slots)
    above = bisect_left(growths, marginal)
    if above in {0, len(growths)}:
        return _GRID[0] if above == 0 else _GRID[-1]
    part = (marginal - growths[above - 1]) / (growths[above] - growths[above - 1])
    return _GRID[above - 1] + part * (_GRID[above] - _GRID[above - 1])


@lru_cache(maxsize=1024)
def _growths(slots: float) -> tuple[float, ...]:
    return tuple(_growth(slots, utilisation) for utilisation in _GRID)


def _growth(slots: float, utilisation: float) -> float:
    """Return the derivative of the queue's length by the utilisation."""
    power = math.sqrt(2 * (slots + 1)) - 1
    free = 1 - utilisation
    return float((power + 1) * utilisation**power / free + utilisation ** (power + 1) / free**2)
