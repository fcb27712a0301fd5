"""The decision of `adapters/scripts/reserve.lua`, in Python, which property tests compare with the script."""

from arks.contracts.resources import QuotaType, RateLimitType
from arks.token_quota.domain.limits import Account, limit_checks
from arks.token_quota.domain.reservation import ReservationRequest

_COUNT_COMPLETION = {RateLimitType.TPM, RateLimitType.TPD, QuotaType.RESPONSE, QuotaType.TOTAL}


def granted_completion_tokens(account: Account, request: ReservationRequest) -> int | None:
    """The completion that can be reserved, or None if some limit rejects the request."""
    room = request.completion_tokens
    for check in limit_checks(account, request):
        if not check.fits:
            return None
        if check.limit_type in _COUNT_COMPLETION and not request.exact:
            room = min(room, check.limit - check.used - check.needed + request.needed_completion_tokens)
    return max(room, request.needed_completion_tokens)
