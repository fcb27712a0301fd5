"""Ledger: the database of all entries, the truth for usage and cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from arks.contracts.usage import UsageSource
from arks.kit.errors import Unavailable
from arks.token_quota.domain.limits import Budget, RateUse
from arks.token_quota.domain.posting import Entry
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.usage import Usage


class LedgerUnavailable(Unavailable):
    """The database does not answer, or refuses the statement now."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An entry as the counters need it."""

    seq: int
    request_id: str
    token: str
    endpoint: str
    quota: str
    started_at_milliseconds: int
    requests: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class WindowSums:
    """Use of a token at an endpoint in the current windows, up to entry `upto`."""

    use: RateUse
    upto: int


@dataclass(frozen=True, slots=True)
class BudgetSums:
    """Use of a budget in its current period, up to entry `upto`."""

    prompt_tokens: int
    completion_tokens: int
    upto: int


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage to add up; None: all. Days since 1970-01-01, both included."""

    namespace: str | None = None
    token: str | None = None
    endpoint: str | None = None
    quota: str | None = None
    first_day: int | None = None
    last_day: int | None = None


@dataclass(frozen=True, slots=True)
class UsageSum:
    """A row of sums; a field that was not grouped by is None."""

    namespace: str | None
    token: str | None
    endpoint: str | None
    quota: str | None
    source: UsageSource | None
    day: int | None
    requests: int
    prompt_tokens: int
    completion_tokens: int


class Ledger(Protocol):
    """Every method raises LedgerUnavailable."""

    async def post(self, usages: Sequence[Usage], now: Moment) -> list[Entry]:
        """Add the entries that `usages` need, in one transaction, and return them."""

    async def last_seq(self) -> int: ...

    async def heads(self, after: int = 0) -> dict[str, int]:
        """Sequence number of the last entry of each namespace with entries after entry `after`."""

    async def prune(self, before_milliseconds: int, limit: int) -> int:
        """Delete up to `limit` of the oldest entries, if recorded before then; daily sums stay. Returns the number of
        deleted entries.
        """

    async def entries(self, namespace: str, after: int, limit: int) -> list[LedgerEntry]: ...

    async def last_seqs(self, request_ids: Sequence[str]) -> dict[str, int]:
        """Sequence number of the last entry of each of the requests that have entries."""

    async def window_sums(self, namespace: str, token: str, endpoint: str, now: Moment) -> WindowSums: ...

    async def budget_sums(self, namespace: str, budget: Budget, now: Moment) -> BudgetSums: ...

    async def usage_sums(self, usage_filter: UsageFilter, group_by: Sequence[str]) -> list[UsageSum]: ...

    async def resets(self) -> dict[tuple[str, str], int]:
        """The newest completed reset of each (namespace, quota)."""

    async def reset(self, namespace: str, quota: str, generation: int, now: Moment) -> int:
        """Start a budget again from 0, once for each generation. Returns the newest completed generation."""
