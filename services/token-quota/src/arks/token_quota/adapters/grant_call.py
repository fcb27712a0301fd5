"""Commands of admission as arguments of the script `grant`, and its answer."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from arks.token_quota.adapters.counter_keys import CounterKeys, rate_name
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.limits import BudgetUse, RateUse
from arks.token_quota.service.ports.counters import GrantCommand, GrantResult

_MSGPACK: Final = msgspec.msgpack.Encoder()
_MISSING: Final = 2
_NO_LIMITS: Final = (-1, -1, -1)


class GrantCall:
    """Arguments of the script `grant`, for commands of one namespace."""

    def __init__(self, keys: CounterKeys, commands: Sequence[GrantCommand]) -> None:
        self.names = [keys.epoch, keys.leases, keys.lease_ends, keys.rates]
        self._keys = keys
        self._fields: list[str | int | bool] = []
        for command in commands:
            self._add(command)

    def values(self) -> list[bytes]:
        return [_MSGPACK.encode(self._fields)]

    def _add(self, command: GrantCommand) -> None:
        tokens, rates, budget, now = command.tokens, command.rates, command.budget, command.now
        limits, budget_at = _NO_LIMITS, 0
        if budget is not None:
            limits = (_limit(budget.prompt), _limit(budget.response), _limit(budget.total))
            budget_at = self._at(self._keys.budget(budget, now.day))
        self._fields += (
            command.lease,
            now.minute,
            now.day,
            now.milliseconds,
            command.gateway,
            tokens.prompt_tokens,
            tokens.completion_tokens,
            tokens.exact,
            tokens.min_completion_tokens,
            *command.demand,
            _limit(rates.rpm),
            _limit(rates.rpd),
            _limit(rates.tpm),
            _limit(rates.tpd),
            *limits,
            *command.validity,
            command.begins_in_milliseconds,
            rate_name(command.token, command.endpoint),
            budget_at,
        )

    def _at(self, name: str) -> int:
        """Index of this key in KEYS."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name) + 1


def read_grant(found: Sequence[Any]) -> GrantResult | None:
    """The answer to one command; None if counters are missing."""
    if found[0] == _MISSING:
        return None
    spent = BudgetUse(*found[10:14])
    return GrantResult(found[0] == 1, found[1], LeaseAmount(*found[2:5]), found[5], RateUse(*found[6:10]), spent)


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit
