"""Names of the keys of counters in Redis. `scripts/common.lua` describes what they hold."""

from typing import Final

from arks.token_quota.domain.limits import Budget
from arks.token_quota.domain.time import period_start_day

_FORMAT: Final = 3
"""Raise it with every change of what the keys contain: counters of another format are not read but filled again."""

LIFE: Final = "arks:life"
"""A random text. It vanishes with all the others when Redis is wiped, and so shows that leases were forgotten."""


_FORMER: Final = ("epoch", "reservations", "deadlines", "epoch:2", "leases", "lease_ends", "gateways")


def rate_name(token: str, endpoint: str) -> str:
    """Return the field of `rates`."""
    return f"{token}/{endpoint}"


class CounterKeys:
    """Names of one namespace's keys. The braces make them one hash slot, so that a script may touch them all."""

    __slots__ = ("epoch", "former", "gateways", "lease_ends", "leases", "life", "prefix", "rates")

    def __init__(self, namespace: str) -> None:
        every_format = f"arks:{{{namespace}}}:"
        self.prefix = f"{every_format}{_FORMAT}:"
        self.epoch = self.prefix + "epoch"
        self.leases = self.prefix + "leases"
        self.lease_ends = self.prefix + "lease_ends"
        self.gateways = self.prefix + "gateways"
        self.rates = self.prefix + "rates"
        self.life = (self.epoch, self.leases, self.lease_ends, self.gateways, self.rates)
        """The keys that begin and end together."""
        self.former = [every_format + name for name in _FORMER]
        """Written by earlier releases."""

    def budget(self, budget: Budget, day: int) -> str:
        """Each period and each reset counts apart."""
        start = period_start_day(budget.period, day)
        return f"{self.prefix}budget:{budget.quota}:{budget.period}:{start}:{budget.generation}"
