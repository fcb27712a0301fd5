"""Translates resources into what admission checks: ArksToken -> Policy, ArksQuota -> Budget."""

from datetime import datetime

from arks.contracts.resources import ArksQuota, ArksToken, FailureMode, QuotaType, RateLimitType, TokenQos
from arks.token_quota.domain.access import Permission, Policy
from arks.token_quota.domain.limits import Budget, Rates


def policy_of(token: ArksToken) -> Policy:
    spec = token.spec
    return Policy(
        namespace=token.namespace,
        name=token.name,
        permissions={qos.arks_endpoint.name: _permission(qos) for qos in spec.qos},
        disabled=spec.disabled,
        expires_at_seconds=seconds_of(spec.expires_at),
        rates_fail_open=spec.failure_policy.rates is FailureMode.OPEN,
        budgets_fail_open=spec.failure_policy.budgets is FailureMode.OPEN,
    )


def _permission(qos: TokenQos) -> Permission:
    limits = {limit.type: limit.value for limit in qos.rate_limits}
    rates = Rates(
        rpm=limits.get(RateLimitType.RPM),
        rpd=limits.get(RateLimitType.RPD),
        tpm=limits.get(RateLimitType.TPM),
        tpd=limits.get(RateLimitType.TPD),
    )
    return Permission(rates, qos.quota.name if qos.quota is not None else None)


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


def quota_names(token: ArksToken) -> set[str]:
    """The quotas that the token's requests are charged to."""
    return {qos.quota.name for qos in token.spec.qos if qos.quota is not None}


def seconds_of(time: datetime | None) -> float | None:
    """Seconds since 1970-01-01."""
    return None if time is None else time.timestamp()
