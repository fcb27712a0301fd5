"""Counters: sums that follow the ledger, for fast checks of limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from arks.kit.errors import Unavailable
from arks.token_quota.domain.change import LedgerChange
from arks.token_quota.domain.lease import LeaseAmount, Validity
from arks.token_quota.domain.limits import Account, Budget, BudgetUse, Rates, RateUse
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.ledger import BudgetSums, WindowSums

ChangeWithBudgets = tuple[LedgerChange, Mapping[str, Budget]]
"""A change, and the budgets that it names, by name. A budget that does not exist is missing."""


class CountersUnavailable(Unavailable):
    """Redis does not answer. Whether the call took effect is unknown."""


class GrantCommand(NamedTuple):
    """Arguments of Counters.grant."""

    lease: str
    """Id of the lease to create; unique."""
    gateway: str
    namespace: str
    token: str
    endpoint: str
    rates: Rates
    budget: Budget | None
    tokens: ReservationRequest
    """Of the request itself, which is granted entirely or not at all."""
    demand: LeaseAmount
    """What else the worker can use in a second. Granted as far as limits have room, for longer where they are far."""
    now: Moment
    validity: Validity
    begins_in_milliseconds: int = 0
    """0: the lease begins now; else in so many, which is when the next UTC minute begins, and it counts in that one."""

    @property
    def begin(self) -> Moment:
        return Moment(self.now.milliseconds + self.begins_in_milliseconds)


class GrantResult(NamedTuple):
    """The uses are those after the lease if it was granted, those before it if it was not, in the minute in which the
    lease counts.
    """

    granted: bool
    completion_tokens: int
    """Reserved for the request itself."""
    extra: LeaseAmount
    """What the lease holds besides the request."""
    milliseconds: int
    """Validity of the lease, from its begin."""
    rate_use: RateUse
    budget_use: BudgetUse

    def account(self, command: GrantCommand) -> Account:
        return Account(command.rates, command.budget, self.rate_use, self.budget_use)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One generation of a namespace's counters: it ends when Redis is wiped."""

    id: str
    cursor: int
    """Sequence number of the last ledger change that the counters contain."""


class Counters(Protocol):
    """Every method raises CountersUnavailable."""

    async def grant(self, command: GrantCommand) -> GrantResult | None:
        """Check all limits and reserve a lease, or reserve nothing. None: a counter is missing and has to be filled
        first.
        """

    async def open(self, namespace: str, upto: int, replace: str = "") -> Epoch:
        """The epoch of this namespace's counters; a new one, which contains the ledger up to change `upto`, if there
        is none or its id is `replace`. A new epoch has no leases.
        """

    async def life(self) -> str:
        """Which life of the counters this is: another one begins when Redis is wiped, or when counters of some
        namespace begin again. Leases belong to one life.
        """

    async def fill_rate(self, epoch: Epoch, command: GrantCommand, sums: WindowSums) -> bool:
        """Create the missing rate counter. False: `sums` are out of date, read them again."""

    async def fill_budget(self, epoch: Epoch, command: GrantCommand, sums: BudgetSums) -> bool:
        """Create the missing budget counter. False: `sums` are out of date, read them again."""

    async def apply(self, namespace: str, after: int, changes: Sequence[ChangeWithBudgets], now: Moment) -> int | None:
        """Settle and charge `changes`, at least one, the next ones after change `after`. Returns the cursor
        afterwards, which is not the last change's if another replica was faster. None: the counters are gone.
        """

    async def return_lost_leases(self, namespace: str, now: Moment) -> int:
        """Return what is held by leases that no gateway ever used, because their answer did not arrive. Returns the
        number of such leases.

        A lease is lost if its gateway has reported everything until 30 s after the lease's end without closing it; or
        an hour after its end, if its gateway reports no longer.
        """

    async def return_unsent_lease(self, namespace: str, lease: str, now: Moment) -> None:
        """Return at once what the lease holds: its grant was not sent, so no request can use it."""

    async def open_requests(self, namespace: str) -> int:
        """Number of requests in leases whose usage is not known yet; unused ones count until their lease is closed."""
