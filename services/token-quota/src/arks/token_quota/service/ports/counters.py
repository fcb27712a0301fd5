"""Counters: sums that follow the ledger, for fast checks of limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from arks.kit.errors import Unavailable
from arks.token_quota.domain.limits import Account, Budget, BudgetUse, Rates, RateUse
from arks.token_quota.domain.reservation import Reservation, ReservationRequest
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.ledger import BudgetSums, LedgerEntry, WindowSums


class CountersUnavailable(Unavailable):
    """Redis does not answer. Whether the call took effect is unknown."""


class ReserveCommand(NamedTuple):
    """Arguments of Counters.reserve."""

    request_id: str
    namespace: str
    token: str
    endpoint: str
    operation: str
    rates: Rates
    budget: Budget | None
    tokens: ReservationRequest
    now: Moment
    deadline_milliseconds: int


class ReserveResult(NamedTuple):
    """The uses are those after the request if it was granted, those before it if it was not."""

    granted: bool
    completion_tokens: int
    rate_use: RateUse
    budget_use: BudgetUse

    def account(self, command: ReserveCommand) -> Account:
        return Account(command.rates, command.budget, self.rate_use, self.budget_use)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One generation of a namespace's counters: it ends when Redis is wiped."""

    id: str
    cursor: int
    """Sequence number of the last ledger entry that the counters contain."""


class Counters(Protocol):
    """Every method raises CountersUnavailable."""

    async def reserve(self, command: ReserveCommand) -> ReserveResult | None:
        """Check all limits and count, or count nothing. None: a counter is missing and has to be filled first."""

    async def open(self, namespace: str, upto: int, replace: str = "") -> Epoch:
        """The epoch of this namespace's counters; a new one, which contains the ledger up to entry `upto`, if there
        is none or its id is `replace`.
        """

    async def fill_rate(self, epoch: Epoch, command: ReserveCommand, sums: WindowSums) -> bool:
        """Create the missing rate counter. False: `sums` are out of date, read them again."""

    async def fill_budget(self, epoch: Epoch, command: ReserveCommand, sums: BudgetSums) -> bool:
        """Create the missing budget counter. False: `sums` are out of date, read them again."""

    async def apply(
        self, namespace: str, after: int, entries: Sequence[tuple[LedgerEntry, Budget | None]], now: Moment
    ) -> int | None:
        """Settle and charge `entries`, the next ones after entry `after`. Returns the cursor afterwards, which is not
        the last entry's if another replica was faster. None: the counters are gone.
        """

    async def expired(self, namespace: str, now: Moment, limit: int) -> list[Reservation]:
        """Reservations whose deadline has passed, oldest first."""

    async def release(self, namespace: str, request_ids: Sequence[str]) -> None:
        """Undo reservations as if their requests had never come."""

    async def open_reservations(self, namespace: str) -> int:
        """Number of requests whose usage is not known yet."""
