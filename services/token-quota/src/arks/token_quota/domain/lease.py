"""The lease: an amount of requests and tokens, reserved at once, from which a worker of the gateway admits until a
time. And the opposite: how long the worker may repeat a rejection.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from arks.contracts.resources import RateLimitType
from arks.token_quota.domain.limits import Violation
from arks.token_quota.domain.time import MINUTE_MILLISECONDS, Moment

HOLD_MILLISECONDS: Final = 1000
"""The longest time for which a worker decides by an earlier answer: a changed key or limit is in force after it."""
TOKENS_HOLD_MILLISECONDS: Final = 100
"""Shorter for limits of tokens, because settled requests return tokens all the time."""
MAX_DEMAND_REQUESTS: Final = 4096
NO_LEASE: Final = "-"
"""Stands for the lease of a request that was admitted without counters."""


class LeaseAmount(NamedTuple):
    """Requests, and the tokens that they may reserve together."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Hold(NamedTuple):
    """How long a worker may repeat a rejection, and to which requests.

    Scope `key`: all with the same authorization; `model`: those for the same model as well; `size`: of these, the
    requests that need at least as many prompt and completion tokens.
    """

    milliseconds: int
    scope: str


KEY_HOLD: Final = Hold(HOLD_MILLISECONDS, "key")
MODEL_HOLD: Final = Hold(HOLD_MILLISECONDS, "model")
_REQUEST_LIMITS: Final = frozenset({RateLimitType.RPM, RateLimitType.RPD})


def lease_milliseconds(now: Moment) -> int:
    """Validity of a lease, at least 1. It never reaches into the next UTC minute, so it counts in one window only."""
    return min(HOLD_MILLISECONDS, MINUTE_MILLISECONDS - now.milliseconds % MINUTE_MILLISECONDS)


def limit_hold(violations: Sequence[Violation], now_seconds: float) -> Hold:
    """A used-up limit of requests rejects every request for the model; a limit of tokens only those of the same size.

    Never longer than until the last of the broken windows ends.
    """
    requests = [violation for violation in violations if violation.limit_type in _REQUEST_LIMITS]
    if requests:
        return Hold(min(HOLD_MILLISECONDS, _milliseconds_to_reset(requests, now_seconds)), "model")
    return Hold(min(TOKENS_HOLD_MILLISECONDS, _milliseconds_to_reset(violations, now_seconds)), "size")


def _milliseconds_to_reset(violations: Sequence[Violation], now_seconds: float) -> int:
    resets = [violation.resets_after_seconds for violation in violations]
    into_second = round(now_seconds * 1000) % 1000
    return max(HOLD_MILLISECONDS if reset is None else reset * 1000 - into_second for reset in resets)
