"""The lease: an amount of requests and tokens, reserved at once, from which a worker of the gateway admits until a
time. And the opposite: how long the worker may repeat a rejection.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from arks.contracts.resources import RateLimitType
from arks.token_quota.domain.count import MAX_COUNT
from arks.token_quota.domain.limits import Violation
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import DAY_MILLISECONDS, MINUTE_MILLISECONDS, Moment

HOLD_MILLISECONDS: Final = 1000
"""The longest time for which a worker decides by an earlier answer: a changed key or limit is in force after it."""
SHORT_HOLD_MILLISECONDS: Final = 100
"""For what may end at any moment: settled requests return tokens of a limit all the time, and who waits for a model's
first answer uses it at once. Each worker repeats rejections by itself, so another one may have answered already."""
LONGEST_MILLISECONDS: Final = 60_000
"""The longest validity of a lease: a whole minute, so that a key of few requests costs one call in it. A worker that
uses it later than HOLD_MILLISECONDS after its grant has queried `/v1/changes` within that time."""
MAX_DEMAND_REQUESTS: Final = 4096
AHEAD_MILLISECONDS: Final = 15_000
"""How long before its window a lease may be granted: workers renew a lease no earlier before its end."""
AHEAD_MARGIN_MILLISECONDS: Final = 100
"""A lease that ends so long before its window has ended with it: the ways of two queries, even of slow ones."""
NO_LEASE: Final = "-"
"""Stands for the lease of a request that was admitted without counters."""


MAX_LEASE_ID: Final = 253


def lease_id(unique: str, quota: str) -> str:
    """The id of a lease, which names the budget that its requests are charged to (empty: none): the permission may be
    edited before their usage arrives.

    `unique`: letters and digits. Gateways accept `[0-9a-z-]+`, so a dash of the budget's name becomes `--` and a point
    `-d`. A name that makes the id too long is left out.
    """
    id_ = f"{unique}-{quota.replace('-', '--').replace('.', '-d')}"
    return id_ if len(id_) <= MAX_LEASE_ID else unique


@lru_cache(maxsize=4096)
def quota_of_lease(lease: str) -> str | None:
    """The budget that a lease's id names; empty for none, None if the id does not name it."""
    _, dash, name = lease.partition("-")
    return "-".join(part.replace("-d", ".") for part in name.split("--")) if dash else None


class LeaseAmount(NamedTuple):
    """Requests, and the tokens that they may reserve together."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Validity(NamedTuple):
    """How long a lease is valid, in milliseconds."""

    shortest: int
    """Near a limit."""
    longest: int
    """While every limit is far."""


def wanted(demand: LeaseAmount, request: ReservationRequest) -> LeaseAmount:
    """What a worker needs in a second besides the request. Its first demand for a key and model has no tokens, because
    only token-quota knows what a request reserves: each of its requests is taken to be like this one.
    """
    if demand.requests == 0 or demand.prompt_tokens > 0:
        return demand
    return LeaseAmount(
        demand.requests,
        min(MAX_COUNT, demand.requests * request.prompt_tokens),
        min(MAX_COUNT, demand.requests * request.completion_tokens),
    )


class Hold(NamedTuple):
    """How long a worker may repeat a rejection, and to which requests.

    Scope `key`: all with the same authorization; `model`: those for the same model as well; `size`: of these, the
    requests that need at least as many prompt and completion tokens.
    """

    milliseconds: int
    scope: str
    window_milliseconds: int = 0
    """Of a limit: until its window ends. The worker repeats the rejection as long while it cannot query the limit, for
    which the failure policy is not meant: it is known that the limit was used up."""


KEY_HOLD: Final = Hold(HOLD_MILLISECONDS, "key")
MODEL_HOLD: Final = Hold(HOLD_MILLISECONDS, "model")
NOT_READY_HOLD: Final = Hold(SHORT_HOLD_MILLISECONDS, "model")
_REQUEST_LIMITS: Final = frozenset({RateLimitType.RPM, RateLimitType.RPD})


def lease_validity(now: Moment, key_until_seconds: float | None = None) -> Validity:
    """At least 1 ms. A lease never reaches into the next UTC minute, so it counts in one window only; a long one ends
    with its key.
    """
    minute = MINUTE_MILLISECONDS - now.milliseconds % MINUTE_MILLISECONDS
    shortest = min(HOLD_MILLISECONDS, minute)
    longest = min(LONGEST_MILLISECONDS, minute)
    if key_until_seconds is not None:
        longest = min(longest, int(key_until_seconds * 1000) - now.milliseconds)
    return Validity(shortest, max(shortest, longest))


def begins_in(now: Moment, remaining_milliseconds: int | None) -> int:
    """In how many milliseconds a lease has to begin that follows one which is valid for so many more: 0, or when the
    next UTC minute begins, if the lease before it lasts until then. A new day has other counters of limits and budgets,
    so none is granted before it. `remaining_milliseconds`: None if there is no lease to follow.
    """
    if remaining_milliseconds is None:
        return 0
    until_minute = MINUTE_MILLISECONDS - now.milliseconds % MINUTE_MILLISECONDS
    ends_before = remaining_milliseconds + AHEAD_MARGIN_MILLISECONDS < until_minute
    if ends_before or until_minute > AHEAD_MILLISECONDS or Moment(now.milliseconds + until_minute).day != now.day:
        return 0
    return until_minute


def limit_hold(violations: Sequence[Violation], now_seconds: float) -> Hold:
    """A used-up limit of requests rejects every request for the model; a limit of tokens only those of the same size.

    Never longer than until the last of the broken windows ends.
    """
    requests = [violation for violation in violations if violation.limit_type in _REQUEST_LIMITS]
    if requests:
        window = _milliseconds_to_reset(requests, now_seconds)
        return Hold(min(HOLD_MILLISECONDS, window), "model", window)
    window = _milliseconds_to_reset(violations, now_seconds)
    return Hold(min(SHORT_HOLD_MILLISECONDS, window), "size", window)


def _milliseconds_to_reset(violations: Sequence[Violation], now_seconds: float) -> int:
    resets = [violation.resets_after_seconds for violation in violations]
    into_second = round(now_seconds * 1000) % 1000
    return max(DAY_MILLISECONDS if reset is None else reset * 1000 - into_second for reset in resets)
