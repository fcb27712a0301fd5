"""Rate limits and budgets: windows, what is left of them, and whether a request fits.

The atomic script in Redis (`adapters/scripts/reserve.lua`) applies the same rules to the same numbers; a property
test holds the two against each other. Here they explain an answer: which rule was broken, what is left, when it
starts again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

MINUTE_SECONDS = 60
DAY_SECONDS = 86_400


class Rule(StrEnum):
    RPM = "rpm"
    RPD = "rpd"
    TPM = "tpm"
    TPD = "tpd"
    PROMPT = "prompt"
    RESPONSE = "response"
    TOTAL = "total"


class Period(StrEnum):
    LIFETIME = "lifetime"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits of one token at one endpoint; None is no limit, 0 lets nothing through."""

    rpm: int | None = None
    rpd: int | None = None
    tpm: int | None = None
    tpd: int | None = None

    @property
    def limited(self) -> bool:
        return not (self.rpm is None and self.rpd is None and self.tpm is None and self.tpd is None)


@dataclass(frozen=True, slots=True)
class Budget:
    """An ArksQuota: tokens in a period, shared by all who name it. None is no limit, 0 lets nothing through."""

    quota: str
    period: Period = Period.LIFETIME
    generation: int = 0
    """Resets carried out so far: usage is counted apart for each."""
    prompt: int | None = None
    response: int | None = None
    total: int | None = None


class RateUse(
    NamedTuple
):  # named tuples are what is made for each request: a frozen dataclass costs four times as much
    """What the current UTC minute and day hold already: finished requests and reservations alike."""

    minute_requests: int = 0
    minute_tokens: int = 0
    day_requests: int = 0
    day_tokens: int = 0


class BudgetUse(NamedTuple):
    """`used` was charged, `held` is reserved by requests under way."""

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
    """The rules of a request with what they hold already."""

    rates: Rates
    budget: Budget | None = None
    rate_use: RateUse = RateUse()
    budget_use: BudgetUse = BudgetUse()


class Ask(NamedTuple):
    """What one request wants to reserve. An exact completion fits entirely or not at all; another one shrinks to
    what is left, but not below `least_completion_tokens`.
    """

    prompt_tokens: int
    completion_tokens: int
    exact: bool
    least_completion_tokens: int = 1

    @property
    def needed_completion_tokens(self) -> int:
        return self.completion_tokens if self.exact else self.least_completion_tokens


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a request does not fit into."""

    rule: Rule
    limit: int
    used: int
    asked: int
    resets_after_seconds: int | None
    """None: never by itself (a budget for life)."""
    quota: str = ""
    """Name of the budget; empty for a rate limit."""


class Remainder(NamedTuple):
    """What a client is told in x-ratelimit-*: the tightest rule of its kind."""

    limit: int
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True)
class _Line:
    """One rule with its numbers, before the request: `used + needed <= limit` lets it pass, `room` bounds its
    completion.
    """

    rule: Rule
    limit: int
    used: int
    needed: int
    fixed: int
    """The part of `needed` that is not completion."""
    counts_completion: bool
    period: Period | None
    """None: a window of a minute."""
    quota: str = ""

    @property
    def fits(self) -> bool:
        return self.used + self.needed <= self.limit


def seconds_to_minute_end(now_seconds: float) -> int:
    return MINUTE_SECONDS - int(now_seconds) % MINUTE_SECONDS


def seconds_to_day_end(now_seconds: float) -> int:
    return DAY_SECONDS - int(now_seconds) % DAY_SECONDS


def period_start_day(period: Period, day: int) -> int:
    """First day (days since 1970-01-01) of the period that `day` lies in; 0 for a lifetime."""
    if period is Period.DAY:
        return day
    if period is Period.MONTH:
        return day - datetime.fromtimestamp(day * DAY_SECONDS, UTC).day + 1
    return 0


def period_end_seconds(period: Period, now_seconds: float) -> int | None:
    """When the period that `now_seconds` lies in ends (seconds since 1970-01-01); None for a lifetime."""
    if period is Period.LIFETIME:
        return None
    day = int(now_seconds) // DAY_SECONDS
    if period is Period.DAY:
        return (day + 1) * DAY_SECONDS
    today = datetime.fromtimestamp(day * DAY_SECONDS, UTC)
    first = today.replace(year=today.year + today.month // 12, month=today.month % 12 + 1, day=1)
    return int(first.timestamp())


def violations(account: Account, ask: Ask, now_seconds: float) -> tuple[Violation, ...]:
    """Every rule that the request does not fit into; none means that it may pass."""
    return tuple(
        Violation(
            line.rule, line.limit, line.used, line.needed, _resets_after(line.period, now_seconds), quota=line.quota
        )
        for line in _lines(account, ask)
        if not line.fits
    )


def granted_completion_tokens(account: Account, ask: Ask) -> int | None:
    """The completion that can be reserved, or None when some rule does not let the request pass."""
    room = ask.completion_tokens
    for line in _lines(account, ask):
        if not line.fits:
            return None
        if line.counts_completion and not ask.exact:
            room = min(room, line.limit - line.used - line.fixed)
    return max(room, ask.needed_completion_tokens)


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


def _tightest(*windows: tuple[int | None, int, int]) -> Remainder | None:
    found = [Remainder(limit, max(0, limit - used), reset) for limit, used, reset in windows if limit is not None]
    return min(found, key=lambda remainder: remainder.remaining, default=None)


def _resets_after(period: Period | None, now_seconds: float) -> int | None:
    if period is None:
        return seconds_to_minute_end(now_seconds)
    end = period_end_seconds(period, now_seconds)
    return None if end is None else max(1, end - int(now_seconds))


def _lines(account: Account, ask: Ask) -> Iterator[_Line]:
    rates, use, budget = account.rates, account.rate_use, account.budget
    prompt, tokens = ask.prompt_tokens, ask.prompt_tokens + ask.needed_completion_tokens
    if rates.rpm is not None:
        yield _Line(Rule.RPM, rates.rpm, use.minute_requests, 1, 1, False, None)
    if rates.rpd is not None:
        yield _Line(Rule.RPD, rates.rpd, use.day_requests, 1, 1, False, Period.DAY)
    if rates.tpm is not None:
        yield _Line(Rule.TPM, rates.tpm, use.minute_tokens, tokens, prompt, True, None)
    if rates.tpd is not None:
        yield _Line(Rule.TPD, rates.tpd, use.day_tokens, tokens, prompt, True, Period.DAY)
    if budget is not None:
        yield from _budget_lines(budget, account.budget_use, ask)


def _budget_lines(budget: Budget, spent: BudgetUse, ask: Ask) -> Iterator[_Line]:
    prompt, completion, period = ask.prompt_tokens, ask.needed_completion_tokens, budget.period
    if budget.prompt is not None:
        yield _Line(Rule.PROMPT, budget.prompt, spent.prompt, prompt, prompt, False, period, budget.quota)
    if budget.response is not None:
        # A request that produces nothing (an embedding) needs nothing: even a used-up response budget lets it pass.
        yield _Line(Rule.RESPONSE, budget.response, spent.completion, completion, 0, True, period, budget.quota)
    if budget.total is not None:
        used = spent.prompt + spent.completion
        yield _Line(Rule.TOTAL, budget.total, used, prompt + completion, prompt, True, period, budget.quota)
