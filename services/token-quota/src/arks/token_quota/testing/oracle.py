"""The decisions of `adapters/scripts/grant.lua`, in Python, which property tests compare with the script."""

import math
from collections.abc import Iterator

from arks.contracts.resources import QuotaType, RateLimitType
from arks.token_quota.domain.lease import LeaseAmount, Validity
from arks.token_quota.domain.limits import Account, BudgetUse, RateUse, limit_checks
from arks.token_quota.domain.reservation import ReservationRequest

LEASE_SHARE = 8
"""A lease takes at most this part of the room of each limit, so that the other workers get theirs."""
FAR_SHARE = 128
"""A lease for more than a second takes at most this part: what a worker does not use returns late."""
MAX_LEASE_TOKENS = 2**30
"""Of either kind, so that a lease and its request are at most MAX_COUNT unless the request alone is half of that."""
_COUNT_COMPLETION = {RateLimitType.TPM, RateLimitType.TPD, QuotaType.RESPONSE, QuotaType.TOTAL}
_COUNT_REQUESTS = {RateLimitType.RPM, RateLimitType.RPD}


def granted_completion_tokens(account: Account, request: ReservationRequest) -> int | None:
    """The completion that can be reserved, or None if some limit rejects the request."""
    room = request.completion_tokens
    for check in limit_checks(account, request):
        if not check.fits:
            return None
        if check.limit_type in _COUNT_COMPLETION and not request.exact:
            room = min(room, check.limit - check.used - check.needed + request.needed_completion_tokens)
    return max(room, request.needed_completion_tokens)


def granted_extra(account: Account, demand: LeaseAmount, validity: Validity) -> tuple[LeaseAmount, int]:
    """What a lease holds besides its request, and for how many milliseconds. One share of the whole demand; `account`
    contains the request.
    """
    if demand.requests == 0:
        return LeaseAmount(), validity.shortest
    rooms = list(_rooms(account, demand))
    share = min([1.0, *(room // LEASE_SHARE / needed for room, needed in rooms)])
    far = min([math.inf, *(room // FAR_SHARE / needed for room, needed in rooms)])
    milliseconds = validity.shortest
    if far >= 1:
        milliseconds = max(milliseconds, math.floor(min(validity.longest, 1000 * far)))
        share = max(share, milliseconds / 1000)
    extra = LeaseAmount(*(math.floor(amount * share) for amount in demand))
    return (extra if extra.requests and extra.prompt_tokens else LeaseAmount()), milliseconds


def _rooms(account: Account, demand: LeaseAmount) -> Iterator[tuple[int, int]]:
    """The room of each limit, and what the demand needs of it."""
    tokens = ReservationRequest(demand.prompt_tokens, demand.completion_tokens, exact=True)
    rooms = [(LEASE_SHARE * MAX_LEASE_TOKENS, max(demand.prompt_tokens, demand.completion_tokens))]
    for check in limit_checks(account, tokens):
        needed = demand.requests if check.limit_type in _COUNT_REQUESTS else check.needed
        rooms.append((max(0, check.limit - check.used), needed))
    return ((room, needed) for room, needed in rooms if needed)


def with_reserved(account: Account, amount: LeaseAmount) -> Account:
    """The account after `amount` was reserved."""
    rate, budget = account.rate_use, account.budget_use
    tokens = amount.prompt_tokens + amount.completion_tokens
    return account._replace(
        rate_use=RateUse(
            rate.minute_requests + amount.requests,
            rate.minute_tokens + tokens,
            rate.day_requests + amount.requests,
            rate.day_tokens + tokens,
        ),
        budget_use=BudgetUse(
            budget.used_prompt,
            budget.used_completion,
            budget.held_prompt + amount.prompt_tokens,
            budget.held_completion + amount.completion_tokens,
        ),
    )
