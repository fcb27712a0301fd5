"""Translates an ArksQuota into the Budget that admission checks, and times into seconds."""

from datetime import datetime

from arks.contracts.resources import ArksQuota, QuotaType
from arks.token_quota.domain.limits import Budget


def budget_of(quota: ArksQuota, generation: int) -> Budget:
    """`generation`: resets of this budget so far."""
    limits = {limit.quota_type: limit.value for limit in quota.spec.quotas}
    return Budget(
        quota=quota.name,
        period=quota.spec.period,
        generation=generation,
        prompt=limits.get(QuotaType.PROMPT),
        response=limits.get(QuotaType.RESPONSE),
        total=limits.get(QuotaType.TOTAL),
    )


def seconds_of(time: datetime | None) -> float | None:
    """Seconds since 1970-01-01."""
    return None if time is None else time.timestamp()
