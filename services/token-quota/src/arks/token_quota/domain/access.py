"""Who may use what: from a key's policy, an endpoint's state and the time to leave or a refusal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from arks.token_quota.domain import answers
from arks.token_quota.domain.answers import Refusal
from arks.token_quota.domain.limits import Rates


@dataclass(frozen=True, slots=True)
class Leave:
    """What a token may do at one endpoint."""

    rates: Rates
    quota: str | None
    """Name of the ArksQuota in the token's namespace."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an ArksToken says, ready to be asked."""

    namespace: str
    name: str
    endpoints: Mapping[str, Leave]
    disabled: bool = False
    expires_at_seconds: float | None = None
    rates_fail_open: bool = True
    budgets_fail_open: bool = False


class KeyHolder(NamedTuple):
    """Whose key it is. A replaced key works until a time of its own."""

    policy: Policy
    until_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EndpointState:
    ready: bool
    message: str = ""


def refuse_key(holder: KeyHolder | None, now_seconds: float) -> Refusal | None:
    """Why this key opens nothing, or None."""
    if holder is None:
        return answers.unknown_key()
    if holder.policy.disabled:
        return answers.disabled_key()
    ends = [end for end in (holder.policy.expires_at_seconds, holder.until_seconds) if end is not None]
    if ends and min(ends) <= now_seconds:
        return answers.expired_key()
    return None


def refuse_model(policy: Policy, model: str, endpoint: EndpointState | None) -> Refusal | None:
    """Why this policy does not lead to a model that answers now, or None. `endpoint` is the one named `model`, if
    any.
    """
    if endpoint is None:
        return answers.unknown_model(model)
    if model not in policy.endpoints:
        return answers.forbidden_model(model)
    if not endpoint.ready:
        return answers.endpoint_not_ready(model, endpoint.message)
    return None
