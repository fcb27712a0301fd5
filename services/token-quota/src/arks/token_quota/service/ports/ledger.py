"""Ledger: the database of all entries, the truth for usage and cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from arks.contracts.usage import UsageSource
from arks.kit.errors import Unavailable
from arks.token_quota.domain.batch import StartedRequest, UsageBatch
from arks.token_quota.domain.change import LedgerChange
from arks.token_quota.domain.limits import Budget, RateUse
from arks.token_quota.domain.posting import Posting
from arks.token_quota.domain.time import Moment


class LedgerUnavailable(Unavailable):
    """The database does not answer, or refuses the statement now."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that has started and whose end is not known."""

    namespace: str
    started: StartedRequest


@dataclass(frozen=True, slots=True)
class WindowSums:
    """Use of a token at an endpoint in the current windows, up to sequence number `upto`."""

    use: RateUse
    upto: int


@dataclass(frozen=True, slots=True)
class BudgetSums:
    """Use of a budget in its current period, up to sequence number `upto`."""

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


QuotaOf = Callable[[str, str, str], str]
"""Name of the budget that requests of (namespace, token, endpoint) are charged to; empty for none."""


class NextChanges(NamedTuple):
    """One state of the ledger."""

    changes: list[LedgerChange]
    resets: dict[str, int]
    """The newest completed reset of each quota of the namespace: a change after it counts in a budget of its own."""


class PruneBefore(NamedTuple):
    """Rows that were recorded before these times (milliseconds) go."""

    entries: int
    batches: int
    """Ids of applied batches: longer than the stream keeps messages, because a repetition is known by its id."""
    changes: int
    """Changes that all counters contain. The newest one of each namespace always stays."""


class Ledger(Protocol):
    """Every method raises LedgerUnavailable."""

    async def post(self, batches: Sequence[UsageBatch], quota_of: QuotaOf, now: Moment) -> list[Posting]:
        """Apply batches, each once by its id, in one transaction. Returns what was written for each new batch."""

    async def last_seq(self) -> int: ...

    async def heads(self, after: int = 0) -> dict[str, int]:
        """Sequence number of the last change of each namespace that has changes after `after`."""

    async def namespaces(self) -> list[str]:
        """Those with entries."""

    async def prune(self, before: PruneBefore, limit: int) -> int:
        """Delete up to `limit` of the oldest rows of each kind; daily sums stay. Returns the number of deleted rows of
        the kind with the most.
        """

    async def changes(self, namespace: str, after: int, limit: int) -> NextChanges:
        """The next `limit` changes of the counters after `after`, in order."""

    async def expired_requests(self, before_milliseconds: int, limit: int) -> list[OpenRequest]:
        """Requests that started before then, whose end is not known and that are not charged; the oldest first."""

    async def window_sums(self, namespace: str, token: str, endpoint: str, now: Moment) -> WindowSums: ...

    async def budget_sums(self, namespace: str, budget: Budget, now: Moment) -> BudgetSums: ...

    async def usage_sums(self, usage_filter: UsageFilter, group_by: Sequence[str]) -> list[UsageSum]: ...

    async def resets(self) -> dict[tuple[str, str], int]:
        """The newest completed reset of each (namespace, quota)."""

    async def reset(self, namespace: str, quota: str, generation: int, now: Moment) -> int:
        """Start a budget again from 0, once for each generation. Returns the newest completed generation."""
