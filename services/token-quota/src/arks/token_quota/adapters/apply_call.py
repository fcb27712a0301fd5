"""Changes of the ledger as arguments of the script `apply`."""

from collections.abc import Mapping
from typing import Final

import msgspec

from arks.token_quota.adapters.counter_keys import CounterKeys, rate_name
from arks.token_quota.domain.change import LeaseChange, LedgerChange
from arks.token_quota.domain.limits import Budget
from arks.token_quota.domain.time import DAY_MINUTES, Moment

_MSGPACK: Final = msgspec.msgpack.Encoder()
"""One argument costs less than 15 for each change, on both sides."""


class ApplyCall:
    """Arguments of the script `apply`."""

    def __init__(self, keys: CounterKeys, after: int, upto: int, now: Moment) -> None:
        self.names = list(keys.life)
        self._keys = keys
        self._cursors = (after, upto, now.minute, now.day)
        self._index: dict[str, int] = {}
        self._gateways: dict[str, int] = {}
        self._changes: list[str | int | bool] = []

    def add(self, change: LedgerChange, budgets: Mapping[str, Budget]) -> None:
        if change.gateway:
            known = self._gateways.get(change.gateway, 0)
            self._gateways[change.gateway] = max(known, change.complete_until_milliseconds)
        for lease in change.changes:
            self._add_lease(change.seq, lease, budgets.get(lease.quota))

    def _add_lease(self, seq: int, lease: LeaseChange, budget: Budget | None) -> None:
        keys, day = self._keys, lease.minute // DAY_MINUTES
        charged = bool(lease.requests or lease.prompt_tokens or lease.completion_tokens)
        self._changes += (
            seq,
            lease.lease,
            lease.minute,
            day,
            lease.requests,
            lease.reserved_prompt_tokens,
            lease.reserved_completion_tokens,
            lease.prompt_tokens,
            lease.completion_tokens,
            lease.closed,
            lease.unused_requests,
            lease.unused_prompt_tokens,
            lease.unused_completion_tokens,
            rate_name(lease.token, lease.endpoint) if charged else "",
            self._at(keys.budget(budget, day)) if charged and budget is not None else 0,
        )

    def _at(self, name: str) -> int:
        """Index of this key in KEYS."""
        if name not in self._index:
            self.names.append(name)
            self._index[name] = len(self.names)
        return self._index[name]

    def values(self) -> list[int | bytes]:
        gateways = [part for pair in self._gateways.items() for part in pair]
        return [*self._cursors, _MSGPACK.encode(gateways), _MSGPACK.encode(self._changes)]
