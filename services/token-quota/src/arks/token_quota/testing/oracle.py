"""The decisions of `adapters/scripts/grant.lua`, in Python, which property tests compare with the script."""

import math

from arks.contracts.resources import QuotaType, RateLimitType
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.limits import Account, BudgetUse, LimitCheck, RateUse, limit_checks
from arks.token_quota.domain.reservation import ReservationRequest

LEASE_SHARE = 8
"""A lease takes at most this part of the room of each limit, so that the other workers get theirs."""
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


def granted_extra(account: Account, demand: LeaseAmount) -> LeaseAmount:
    """What a lease holds besides its request: one share of the whole demand. `account` contains the request."""
    if demand.requests == 0:
        return LeaseAmount()
    share = 1.0
    for check in limit_checks(account, ReservationRequest(demand.prompt_tokens, demand.completion_tokens, exact=True)):
        share = min(share, _share(check, demand))
    extra = LeaseAmount(*(math.floor(amount * share) for amount in demand))
    return extra if extra.requests and extra.prompt_tokens else LeaseAmount()


def _share(check: LimitCheck, demand: LeaseAmount) -> float:
    needed = demand.requests if check.limit_type in _COUNT_REQUESTS else check.needed
    return max(0, check.limit - check.used) // LEASE_SHARE / needed if needed else 1.0


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
