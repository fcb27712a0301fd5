"""Counters in Redis (or Valkey): one atomic script a call. Redis' errors become CountersUnavailable here and nowhere
else.

All that Redis holds can be filled from the ledger, except reservations of requests in flight. It needs no
persistence; `maxmemory-policy` has to be `noeviction` (a counter that vanishes is filled from the ledger again, a
partly evicted one would be wrong).
"""

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.exceptions import NoScriptError, RedisError

from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.domain.limits import Budget, BudgetUse, RateUse
from arks.token_quota.domain.reservation import Reservation
from arks.token_quota.domain.time import DAY_MILLISECONDS, DAY_SECONDS, Moment, period_end_seconds, period_start_day
from arks.token_quota.service.ports.counters import CountersUnavailable, Epoch, ReserveCommand, ReserveResult
from arks.token_quota.service.ports.ledger import BudgetSums, LedgerEntry, WindowSums

_RATE_KEPT_MILLISECONDS = 3 * DAY_MILLISECONDS
_LIFETIME_KEPT_MILLISECONDS = 32 * DAY_MILLISECONDS
"""Counters live longer than their window; a missing counter is filled from the ledger."""
_MISSING = 2


class _Keys:
    """Names of one namespace's keys. The braces make them one hash slot, so that a script may touch them all."""

    __slots__ = ("deadlines", "epoch", "prefix", "reservations")

    def __init__(self, namespace: str) -> None:
        self.prefix = f"arks:{{{namespace}}}:"
        self.epoch = self.prefix + "epoch"
        self.reservations = self.prefix + "reservations"
        self.deadlines = self.prefix + "deadlines"

    def rate(self, token: str, endpoint: str) -> str:
        return f"{self.prefix}rate:{token}/{endpoint}"

    def budget(self, budget: Budget, day: int) -> str:
        """Each period and each reset counts apart."""
        start = period_start_day(budget.period, day)
        return f"{self.prefix}budget:{budget.quota}:{budget.period}:{start}:{budget.generation}"


def _script(name: str) -> str:
    folder = resources.files("arks.token_quota.adapters") / "scripts"
    return (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()


class RedisCounters:
    """Implements `Counters`. Fails fast while Redis is down: after a failure each call fails for a pause."""

    def __init__(
        self,
        redis: RedisBatches,
        registry: CollectorRegistry,
        *,
        retry_pause_seconds: float = 0.25,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._retry_pause_seconds = retry_pause_seconds
        self._paused_until = 0.0
        self._sources = {name: _script(name) for name in ("reserve", "apply", "open", "fill", "expired", "release")}
        self._shas = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self._sources.items()
        }
        self._keys: dict[str, _Keys] = {}
        self._errors = Counter("arks_redis_errors", "Calls of Redis that failed", ["call"], registry=registry)
        self._up = Gauge("arks_redis_up", "1 when the last call of Redis succeeded", registry=registry)

    async def close(self) -> None:
        await self._redis.close()

    # --- admission

    async def reserve(self, command: ReserveCommand) -> ReserveResult | None:
        keys, budget, tokens, rates = self._of(command.namespace), command.budget, command.tokens, command.rates
        minute, day = command.now.minute, command.now.day
        names = [keys.epoch, keys.reservations, keys.deadlines, keys.rate(command.token, command.endpoint)]
        limits: tuple[int, ...] = (-1, -1, -1)
        if budget is not None:
            names.append(keys.budget(budget, day))
            limits = (_limit(budget.prompt), _limit(budget.response), _limit(budget.total))
        found = await self._run(
            "reserve",
            names,
            (
                command.request_id,
                minute,
                day,
                command.deadline_milliseconds,
                tokens.prompt_tokens,
                tokens.completion_tokens,
                1 if tokens.exact else 0,
                tokens.min_completion_tokens,
                _limit(rates.rpm),
                _limit(rates.rpd),
                _limit(rates.tpm),
                _limit(rates.tpd),
                *limits,
                _reservation_fields(command),
            ),
        )
        if found[0] == _MISSING:
            return None
        spent = BudgetUse() if budget is None else BudgetUse(*found[6:10])
        return ReserveResult(found[0] == 1, found[1], RateUse(*found[2:6]), spent)

    async def release(self, namespace: str, request_ids: Sequence[str]) -> None:
        keys = self._of(namespace)
        await self._run("release", [keys.reservations, keys.deadlines], request_ids)

    # --- filled from the ledger

    async def open(self, namespace: str, upto: int, replace: str = "") -> Epoch:
        found = await self._run("open", [self._of(namespace).epoch], (secrets.token_hex(8), upto, replace))
        return Epoch(found[0].decode(), int(found[1]))

    async def fill_rate(self, epoch: Epoch, command: ReserveCommand, sums: WindowSums) -> bool:
        keys, now, use = self._of(command.namespace), command.now, sums.use
        minute = ("m", now.minute, "mr", use.minute_requests, "mt", use.minute_tokens)
        day = ("d", now.day, "dr", use.day_requests, "dt", use.day_tokens)
        expiry = now.milliseconds + _RATE_KEPT_MILLISECONDS
        name = keys.rate(command.token, command.endpoint)
        return bool(await self._run("fill", [keys.epoch, name], (epoch.id, sums.upto, expiry, *minute, *day)))

    async def fill_budget(self, epoch: Epoch, command: ReserveCommand, sums: BudgetSums) -> bool:
        if command.budget is None:
            return True
        keys, now = self._of(command.namespace), command.now
        end = period_end_seconds(command.budget.period, now.seconds)
        kept = now.milliseconds + _LIFETIME_KEPT_MILLISECONDS if end is None else (end + DAY_SECONDS) * 1000
        fields = ("up", sums.prompt_tokens, "uc", sums.completion_tokens, "hp", 0, "hc", 0)
        name = keys.budget(command.budget, now.day)
        return bool(await self._run("fill", [keys.epoch, name], (epoch.id, sums.upto, kept, *fields)))

    # --- metering

    async def apply(
        self, namespace: str, after: int, entries: Sequence[tuple[LedgerEntry, Budget | None]], now: Moment
    ) -> int | None:
        keys = self._of(namespace)
        names = [keys.epoch, keys.reservations, keys.deadlines]
        index: dict[str, int] = {}

        def at(name: str) -> int:
            if name not in index:
                names.append(name)
                index[name] = len(names)
            return index[name]

        values: list[Any] = [after, entries[-1][0].seq, now.minute, now.day]
        for entry, budget in entries:
            started = Moment(entry.started_at_milliseconds)
            values += (entry.request_id, entry.seq, started.minute, started.day)
            values += (entry.requests, entry.prompt_tokens, entry.completion_tokens)
            values += (
                at(keys.rate(entry.token, entry.endpoint)),
                at(keys.budget(budget, started.day)) if budget else 0,
            )
        outcome, cursor = await self._run("apply", names, values)
        return None if outcome < 0 else int(cursor)

    async def expired(self, namespace: str, now: Moment, limit: int) -> list[Reservation]:
        keys = self._of(namespace)
        found = await self._run("expired", [keys.reservations, keys.deadlines], (now.milliseconds, limit))
        return [
            _reservation(namespace, request_id.decode(), packed.decode())
            for request_id, packed in zip(found[::2], found[1::2], strict=True)
        ]

    async def open_reservations(self, namespace: str) -> int:
        name = self._of(namespace).reservations
        return int(await self._guard("hlen", lambda: self._redis.execute("HLEN", name)))

    # --- Redis

    def _of(self, namespace: str) -> _Keys:
        found = self._keys.get(namespace)
        if found is None:
            if len(self._keys) > 10_000:
                self._keys.clear()
            found = self._keys[namespace] = _Keys(namespace)
        return found

    async def _run(self, name: str, keys: Sequence[str], values: Sequence[Any]) -> Any:
        async def call() -> Any:
            try:
                return await self._redis.execute("EVALSHA", self._shas[name], len(keys), *keys, *values)
            except NoScriptError:
                await self._redis.execute("SCRIPT", "LOAD", self._sources[name])
                return await self._redis.execute("EVALSHA", self._shas[name], len(keys), *keys, *values)

        return await self._guard(name, call)

    async def _guard(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if self._monotonic() < self._paused_until:
            self._errors.labels(name).inc()
            raise CountersUnavailable("Redis did not answer a moment ago")
        try:
            found = await call()
        except (TimeoutError, RedisError, OSError) as error:
            self._paused_until = self._monotonic() + self._retry_pause_seconds
            self._errors.labels(name).inc()
            self._up.set(0)
            raise CountersUnavailable(f"Redis did not answer {name}: {type(error).__name__}") from error
        self._up.set(1)
        return found


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit


def _reservation_fields(command: ReserveCommand) -> str:
    quota = command.budget.quota if command.budget else ""
    return f"{command.now.milliseconds}|{command.token}|{command.endpoint}|{command.operation}|{quota}"


def _reservation(namespace: str, request_id: str, packed: str) -> Reservation:
    completion, prompt, _, _, _, _, started, token, endpoint, operation, quota = packed.split("|")
    return Reservation(
        request_id, namespace, token, endpoint, operation, quota, int(started), int(prompt), int(completion)
    )
