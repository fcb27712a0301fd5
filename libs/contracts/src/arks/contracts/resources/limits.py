"""Types of limits: rate limits of a token, and budgets of a quota."""

from arks.contracts.resources.quota import QuotaType
from arks.contracts.resources.token import RateLimitType

LimitType = RateLimitType | QuotaType
LIMIT_TYPES: tuple[LimitType, ...] = (*RateLimitType, *QuotaType)
"""rpm, rpd, tpm, tpd, prompt, response, total."""
