"""Explains what `adapters/scripts/grant.lua` decides: which limits a request breaks, what remains, when it resets.

The script is authoritative, because only it checks and counts at once. It applies the same rules to the same numbers;
a property test compares both (`testing/oracle.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from arks.contracts.resources import LimitType, QuotaPeriod, QuotaType, RateLimitType
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import period_end_seconds, seconds_to_day_end, seconds_to_minute_end


@dataclass(frozen=True, slots=True)
class Rates:
    """Rate limits of one token at one endpoint; None is no limit, 0 admits no request."""

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    tpd: int | None = None

    @property
    def limited(self) -> bool:
        return not (self.rpm is None and self.rpd is None and self.tpm is None and self.tpd is None)


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of an ArksQuota: tokens in a period, shared by all tokens that name it. None is no limit, 0 admits
    no request.
    """

    quota: str
    period: QuotaPeriod = QuotaPeriod.LIFETIME
    generation: int = 0
    """Resets so far: each has a counter of its own."""
    prompt: int | None = None
    response: int | None = None
    total: int | None = None


class RateUse(NamedTuple):  # named tuples are made for each request: a frozen dataclass costs four times as much
    """Use of the current UTC minute and day: finished requests and leases alike."""

    minute_requests: int = 0
    minute_tokens: int = 0
    day_requests: int = 0
    day_tokens: int = 0


class BudgetUse(NamedTuple):
    """`used` was charged, `held` is reserved by leases."""

    used_prompt: int = 0
    used_completion: int = 0
    held_prompt: int = 0
    held_completion: int = 0

    @property
    def prompt(self) -> int:
        return self.used_prompt + self.held_prompt

    @property
    def completion(self) -> int:
        return self.used_completion + self.held_completion


class Account(NamedTuple):
    """The limits of a request and their use so far."""

    rates: Rates
    budget: Budget | None = None
    rate_use: RateUse = RateUse()
    budget_use: BudgetUse = BudgetUse()


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that a request does not fit into."""

    limit_type: LimitType
    limit: int
    used: int
    requested: int
    resets_after_seconds: int | None
    """None: never by itself (a budget for life)."""
    quota: str = ""
    """Name of the budget; empty for a rate limit."""


class Remainder(NamedTuple):
    """The tightest limit of its kind, for x-ratelimit-*."""

    limit: int
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One limit with its numbers before the request."""

    limit_type: LimitType
    limit: int
    used: int
    needed: int
    period: QuotaPeriod | None
    """None: a window of a minute."""
    quota: str = ""

    @property
    def fits(self) -> bool:
        return self.used + self.needed <= self.limit


def violations(account: Account, request: ReservationRequest, now_seconds: float) -> tuple[Violation, ...]:
    """Every limit that the request does not fit into; none means that it may pass."""
    return tuple(
        Violation(
            check.limit_type,
            check.limit,
            check.used,
            check.needed,
            _resets_after(check.period, now_seconds),
            quota=check.quota,
        )
        for check in limit_checks(account, request)
        if not check.fits
    )


def remaining_requests(rates: Rates, use: RateUse, now_seconds: float) -> Remainder | None:
    """The tighter of rpm and rpd, after `use`."""
    return _tightest(
        (rates.rpm, use.minute_requests, seconds_to_minute_end(now_seconds)),
        (rates.rpd, use.day_requests, seconds_to_day_end(now_seconds)),
    )


def remaining_tokens(rates: Rates, use: RateUse, now_seconds: float) -> Remainder | None:
    """The tighter of tpm and tpd, after `use`."""
    return _tightest(
        (rates.tpm, use.minute_tokens, seconds_to_minute_end(now_seconds)),
        (rates.tpd, use.day_tokens, seconds_to_day_end(now_seconds)),
    )


def limit_checks(account: Account, request: ReservationRequest) -> Iterator[LimitCheck]:
    """Each limit that the request is under."""
    rates, use = account.rates, account.rate_use
    tokens = request.prompt_tokens + request.needed_completion_tokens
    if rates.rpm is not None:
        yield LimitCheck(RateLimitType.RPM, rates.rpm, use.minute_requests, 1, None)
    if rates.rpd is not None:
        yield LimitCheck(RateLimitType.RPD, rates.rpd, use.day_requests, 1, QuotaPeriod.DAY)
    if rates.tpm is not None:
        yield LimitCheck(RateLimitType.TPM, rates.tpm, use.minute_tokens, tokens, None)
    if rates.tpd is not None:
        yield LimitCheck(RateLimitType.TPD, rates.tpd, use.day_tokens, tokens, QuotaPeriod.DAY)
    if account.budget is not None:
        yield from _budget_checks(account.budget, account.budget_use, request)


def _budget_checks(budget: Budget, use: BudgetUse, request: ReservationRequest) -> Iterator[LimitCheck]:
    prompt, completion = request.prompt_tokens, request.needed_completion_tokens
    if budget.prompt is not None:
        yield LimitCheck(QuotaType.PROMPT, budget.prompt, use.prompt, prompt, budget.period, budget.quota)
    if budget.response is not None:
        # A request without completion (an embedding) needs nothing: even a used-up response budget admits it.
        yield LimitCheck(QuotaType.RESPONSE, budget.response, use.completion, completion, budget.period, budget.quota)
    if budget.total is not None:
        used = use.prompt + use.completion
        yield LimitCheck(QuotaType.TOTAL, budget.total, used, prompt + completion, budget.period, budget.quota)


def _tightest(*windows: tuple[int | None, int, int]) -> Remainder | None:
    found = [Remainder(limit, max(0, limit - used), reset) for limit, used, reset in windows if limit is not None]
    return min(found, key=lambda remainder: remainder.remaining, default=None)


def _resets_after(period: QuotaPeriod | None, now_seconds: float) -> int | None:
    if period is None:
        return seconds_to_minute_end(now_seconds)
    end = period_end_seconds(period, now_seconds)
    return None if end is None else max(1, end - int(now_seconds))
