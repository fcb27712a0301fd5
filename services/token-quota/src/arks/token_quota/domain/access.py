"""Decides access: key policy + endpoint state + time -> permission or rejection."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from arks.token_quota.domain import answers
from arks.token_quota.domain.answers import Rejection
from arks.token_quota.domain.limits import Budget, Rates


@dataclass(frozen=True, slots=True)
class Permission:
    """The right of a token to use one endpoint."""

    rates: Rates
    quota: str | None
    """Name of the ArksQuota in the token's namespace."""


class Policy(msgspec.Struct, frozen=True, gc=False):
    """An ArksToken as admission needs it; a struct, since there is one for each of 100,000 tokens."""

    namespace: str
    name: str
    permissions: Mapping[str, Permission]
    """By endpoint."""
    disabled: bool = False
    expires_at_seconds: float | None = None
    rates_fail_open: bool = True
    budgets_fail_open: bool = False

    @property
    def quotas(self) -> set[str]:
        """Names of the quotas that the token's requests are charged to."""
        return {permission.quota for permission in self.permissions.values() if permission.quota is not None}


class KeyHolder(NamedTuple):
    """The policy of the token that holds a key. A replaced key works until a time of its own."""

    policy: Policy
    until_seconds: float | None = None

    @property
    def end_seconds(self) -> float | None:
        """When the key ends: by its replacement or with its token."""
        ends = [end for end in (self.policy.expires_at_seconds, self.until_seconds) if end is not None]
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class EndpointState:
    ready: bool
    message: str = ""
    model: str = ""
    """The name that clients use; empty: that of the endpoint, which always works as well."""
    engine_model: str = ""
    """The name that its engines serve the model under; empty: that which clients use."""
    unsupported: frozenset[str] = frozenset()
    """What its engines take in a request and do not keep."""
    affinity: str = ""
    """What holds its requests together, as grants have it: `<bytes of the prompt>[,<header>]`; empty: nothing."""
    created_seconds: int = 0
    """When it was created, since the epoch; 0: not known."""


def reject_key(holder: KeyHolder | None, now_seconds: float) -> Rejection | None:
    """Rejection for an unknown, disabled or expired key; None if the key is valid."""
    if holder is None:
        return answers.unknown_key()
    if holder.policy.disabled:
        return answers.disabled_key()
    end = holder.end_seconds
    if end is not None and end <= now_seconds:
        return answers.expired_key()
    return None


def reject_model(policy: Policy, model: str, name: str, endpoint: EndpointState | None) -> Rejection | None:
    """Rejection for a model that does not exist, is not permitted or not ready; None if it can be used. `endpoint` is
    the endpoint named `name`, if any, which `model` leads to.
    """
    if endpoint is None:
        return answers.unknown_model(model)
    if name not in policy.permissions:
        return answers.forbidden_model(model)
    if not endpoint.ready:
        return answers.endpoint_not_ready(model, endpoint.message)
    return None


class EngineTerms(NamedTuple):
    """What the gateway has to know of an endpoint's engines."""

    model: str = ""
    """The name that they know the requested model under; empty: the same."""
    unsupported: tuple[str, ...] = ()
    """What they take in a request and do not keep."""
    affinity: str = ""
    """What holds requests together at a replica; empty: nothing."""


def engine_terms(endpoint: EndpointState, model: str) -> EngineTerms:
    """`model`: as the client named it."""
    known_as = endpoint.engine_model
    own_name = "" if known_as == model else known_as
    return EngineTerms(own_name, tuple(sorted(endpoint.unsupported)), endpoint.affinity)


def reject_use(endpoint: EndpointState | None, uses: Set[str]) -> Rejection | None:
    """Rejection for a request that wants what the endpoint's engines would not keep."""
    if endpoint is None or not uses or not endpoint.unsupported:
        return None
    kept_not = sorted(uses & endpoint.unsupported)
    return answers.unsupported_use(kept_not[0]) if kept_not else None


def closed_limits(policy: Policy, rates: Rates, budget: Budget | None) -> str | None:
    """The kind of limits that rejects a request while limits cannot be checked; None if it passes.

    Each kind that the request is under has to allow it.
    """
    if budget is not None and not policy.budgets_fail_open:
        return "Quotas"
    if rates.limited and not policy.rates_fail_open:
        return "Rate limits"
    return None
