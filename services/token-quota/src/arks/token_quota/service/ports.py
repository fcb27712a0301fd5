"""What the use cases need of the outside: counters (Redis) and ledger (SQL), with the plain data that crosses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from arks.kit.errors import Unavailable
from arks.token_quota.domain.limits import Account, Ask, Budget, BudgetUse, Rates, RateUse
from arks.token_quota.domain.posting import Entry, Source, Usage


class CountersUnavailable(Unavailable):
    """Redis does not answer. Whether the call took effect is not known."""


class LedgerUnavailable(Unavailable):
    """The database does not do its part now."""


class Reserve(NamedTuple):
    """One request that wants in."""

    request_id: str
    namespace: str
    token: str
    endpoint: str
    operation: str
    rates: Rates
    budget: Budget | None
    ask: Ask
    now_milliseconds: int
    deadline_milliseconds: int


class Reserved(NamedTuple):
    """The answer to a Reserve; the uses are after it when it was granted, before it when it was refused."""

    granted: bool
    completion_tokens: int
    rate_use: RateUse
    budget_use: BudgetUse

    def account(self, request: Reserve) -> Account:
        return Account(request.rates, request.budget, self.rate_use, self.budget_use)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request holds whose usage is not known yet."""

    request_id: str
    namespace: str
    token: str
    endpoint: str
    operation: str
    quota: str
    started_at_milliseconds: int
    prompt_tokens: int
    completion_tokens: int

    def charge(self) -> Usage:
        """The usage that it becomes when nothing is heard of its request."""
        return Usage(
            request_id=self.request_id,
            namespace=self.namespace,
            token=self.token,
            endpoint=self.endpoint,
            quota=self.quota,
            operation=self.operation,
            source=Source.RESERVATION,
            started_at_milliseconds=self.started_at_milliseconds,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of a namespace's counters: it ends when Redis is wiped."""

    id: str
    cursor: int
    """Sequence number of the last ledger entry that the counters contain."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An entry as the counters need it; `budget` is what its quota is now, if it still exists."""

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
    """What the ledger knows of a token at an endpoint in the current windows, up to entry `upto`."""

    use: RateUse
    upto: int


@dataclass(frozen=True, slots=True)
class BudgetSums:
    """What the ledger knows of a budget in its period, up to entry `upto`."""

    prompt_tokens: int
    completion_tokens: int
    upto: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in the units that counters are kept in."""

    milliseconds: int

    @property
    def seconds(self) -> float:
        return self.milliseconds / 1000

    @property
    def minute(self) -> int:
        return self.milliseconds // 60_000

    @property
    def day(self) -> int:
        return self.milliseconds // 86_400_000


class Counters(Protocol):
    """Every method raises CountersUnavailable."""

    async def reserve(self, request: Reserve) -> Reserved | None:
        """All rules or none. None: a counter is missing and has to be made from the ledger first."""

    async def open(self, namespace: str, upto: int, replace: str = "") -> Epoch:
        """The life of this namespace's counters; a new one from ledger entry `upto` on if there is none (or it is
        `replace`).
        """

    async def fill_rate(self, epoch: Epoch, request: Reserve, sums: WindowSums) -> bool:
        """Make the missing rate counter. False: `sums` are too old, read them again."""

    async def fill_budget(self, epoch: Epoch, request: Reserve, sums: BudgetSums) -> bool:
        """Make the missing budget counter. False: `sums` are too old, read them again."""

    async def apply(
        self, namespace: str, after: int, entries: Sequence[tuple[LedgerEntry, Budget | None]], now: Moment
    ) -> int | None:
        """Settle and charge `entries`, the next ones after entry `after`. Returns the cursor as it is then:
        another one than the last entry's when somebody else was faster. None: the counters are gone.
        """

    async def expired(self, namespace: str, now: Moment, most: int) -> list[Reservation]: ...

    async def release(self, namespace: str, request_ids: Sequence[str]) -> None:
        """Take reservations back as if their requests had never been."""

    async def open_reservations(self, namespace: str) -> int: ...


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """What to add up; None: everything. Days since 1970-01-01, both included."""

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
    source: Source | None
    day: int | None
    requests: int
    prompt_tokens: int
    completion_tokens: int


class Ledger(Protocol):
    """Every method raises LedgerUnavailable."""

    async def post(self, usages: Sequence[Usage], now: Moment) -> list[Entry]:
        """Write what is new of them, in one transaction, and return that."""

    async def last_seq(self) -> int: ...

    async def heads(self, after: int = 0) -> dict[str, int]:
        """Of each namespace with entries after entry `after` the sequence number of its last one."""

    async def prune(self, before_milliseconds: int, most: int) -> int:
        """Delete up to `most` of the oldest entries, if recorded before then; daily sums stay. Returns how many
        went.
        """

    async def entries(self, namespace: str, after: int, most: int) -> list[LedgerEntry]: ...

    async def seqs(self, request_ids: Sequence[str]) -> dict[str, int]:
        """Of those requests that have entries the last one's sequence number."""

    async def window_sums(self, namespace: str, token: str, endpoint: str, now: Moment) -> WindowSums: ...

    async def budget_sums(self, namespace: str, budget: Budget, now: Moment) -> BudgetSums: ...

    async def sums(self, wanted: UsageFilter, group_by: Sequence[str]) -> list[UsageSum]: ...

    async def resets(self) -> dict[tuple[str, str], int]:
        """Of each (namespace, quota) the newest reset that was carried out."""

    async def reset(self, namespace: str, quota: str, generation: int, now: Moment) -> int:
        """Start a budget again from 0, once for each generation. Returns the newest generation carried out."""
