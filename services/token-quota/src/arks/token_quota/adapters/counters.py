"""Counters in Redis (or Valkey): one atomic script a call. Redis' errors become CountersUnavailable here and nowhere
else.

All that Redis holds can be filled from the ledger, except leases. It needs no persistence; `maxmemory-policy` has to be
`noeviction` (a counter that vanishes is filled from the ledger again, a partly evicted one would be wrong).
"""

import hashlib
import secrets
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import resources
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.exceptions import NoScriptError, RedisError

from arks.token_quota.adapters.apply_call import ApplyCall
from arks.token_quota.adapters.counter_keys import LIFE, CounterKeys, rate_name
from arks.token_quota.adapters.gathered import Gathered
from arks.token_quota.adapters.grant_call import GrantCall, read_grant
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.domain.time import DAY_MILLISECONDS, DAY_SECONDS, Moment, period_end_seconds
from arks.token_quota.service.ports.counters import (
    ChangeWithBudgets,
    CountersUnavailable,
    Epoch,
    GrantCommand,
    GrantResult,
)
from arks.token_quota.service.ports.ledger import BudgetSums, WindowSums

_LIFETIME_KEPT_MILLISECONDS = 32 * DAY_MILLISECONDS
"""Counters live longer than their period; a missing counter is filled from the ledger."""
_FORMER_KEPT_SECONDS = 86_400
_REQUESTS = struct.Struct("<d")
"""The first number of a packed lease."""
_MAX_LOOKED_AT = 500
_LOST_AFTER_MILLISECONDS = 30_000
"""Time for a batch that the stream delivers late or again, and for clocks that differ."""
_ABANDONED_AFTER_MILLISECONDS = 3_600_000
_SCRIPTS = {
    "open": ("open",),
    "fill_rate": ("common", "fill_rate"),
    "fill_budget": ("fill_budget",),
    "grant": ("common", "grant"),
    "apply": ("common", "settle", "apply"),
    "lost": ("common", "settle", "lost"),
    "unsent": ("common", "settle", "unsent"),
}
"""Each script is the text of these files."""


def _script(files: Sequence[str]) -> str:
    folder = resources.files("arks.token_quota.adapters") / "scripts"
    return "".join((folder / f"{name}.lua").read_text() for name in files)


class RedisCounters:
    """Implements `Counters`. Fails fast while Redis is down: after a call that began after another one had failed, and
    failed too, each call fails for a pause. A single failure is one slow answer of a busy machine, for which no other
    call should be decided without counters.
    """

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
        self._failed_at: float | None = None
        self._sources = {name: _script(files) for name, files in _SCRIPTS.items()}
        self._shas = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self._sources.items()
        }
        self._keys: dict[str, CounterKeys] = {}
        self._grants: dict[str, Gathered[GrantCommand, GrantResult | None]] = {}
        self._errors = Counter("arks_redis_errors", "Calls of Redis that failed", ["call"], registry=registry)
        self._up = Gauge("arks_redis_up", "1 when the last call of Redis succeeded", registry=registry)

    async def close(self) -> None:
        await self._redis.close()

    # --- admission

    async def grant(self, command: GrantCommand) -> GrantResult | None:
        keys = self._of(command.namespace)
        gathered = self._grants.get(command.namespace)
        if gathered is None:
            gathered = self._grants[command.namespace] = Gathered(partial(self._grant_all, keys))
        return await gathered.result(command)

    async def _grant_all(self, keys: CounterKeys, commands: Sequence[GrantCommand]) -> list[GrantResult | None]:
        call = GrantCall(keys, commands)
        return [read_grant(found) for found in await self._run("grant", call.names, call.values())]

    # --- filled from the ledger

    async def open(self, namespace: str, upto: int, replace: str = "") -> Epoch:
        keys = self._of(namespace)
        values = (secrets.token_hex(8), upto, replace, _FORMER_KEPT_SECONDS)
        found = await self._run("open", [*keys.life, *keys.former], values)
        if replace:
            await self._guard("life", lambda: self._redis.execute("DEL", LIFE))
        return Epoch(found[0].decode(), int(found[1]))

    async def life(self) -> str:
        async def read() -> str:
            found = await self._redis.execute("GET", LIFE)
            if found is None:
                await self._redis.execute("SET", LIFE, secrets.token_hex(8), "NX")
                found = await self._redis.execute("GET", LIFE)
            return bytes(found).decode() if found is not None else ""

        return str(await self._guard("life", read))

    async def fill_rate(self, epoch: Epoch, command: GrantCommand, sums: WindowSums) -> bool:
        keys, now, use = self._of(command.namespace), command.now, sums.use
        minute = (now.minute, use.minute_requests, use.minute_tokens)
        day = (now.day, use.day_requests, use.day_tokens)
        name = rate_name(command.token, command.endpoint)
        values = (epoch.id, sums.upto, name, *minute, *day)
        return bool(await self._run("fill_rate", [keys.epoch, keys.rates], values))

    async def fill_budget(self, epoch: Epoch, command: GrantCommand, sums: BudgetSums) -> bool:
        if command.budget is None:
            return True
        keys, now = self._of(command.namespace), command.now
        end = period_end_seconds(command.budget.period, now.seconds)
        kept = now.milliseconds + _LIFETIME_KEPT_MILLISECONDS if end is None else (end + DAY_SECONDS) * 1000
        fields = ("up", sums.prompt_tokens, "uc", sums.completion_tokens, "hp", 0, "hc", 0)
        name = keys.budget(command.budget, now.day)
        return bool(await self._run("fill_budget", [keys.epoch, name], (epoch.id, sums.upto, kept, *fields)))

    # --- metering

    async def apply(self, namespace: str, after: int, changes: Sequence[ChangeWithBudgets], now: Moment) -> int | None:
        call = ApplyCall(self._of(namespace), after, changes[-1][0].seq, now)
        for change, budgets in changes:
            call.add(change, budgets)
        outcome, cursor = await self._run("apply", call.names, call.values())
        return None if outcome < 0 else int(cursor)

    async def return_lost_leases(self, namespace: str, now: Moment) -> int:
        newest = now.milliseconds - _LOST_AFTER_MILLISECONDS
        abandoned = now.milliseconds - _ABANDONED_AFTER_MILLISECONDS
        fixed = (newest, now.minute, now.day, abandoned, _LOST_AFTER_MILLISECONDS)
        lost, waiting, seen = 0, 0, _MAX_LOOKED_AT
        while seen == _MAX_LOOKED_AT:
            seen, returned = await self._run("lost", self._of(namespace).life, (*fixed, waiting, _MAX_LOOKED_AT))
            lost, waiting = lost + returned, waiting + seen - returned
        return lost

    async def return_unsent_lease(self, namespace: str, lease: str, now: Moment) -> None:
        await self._run("unsent", self._of(namespace).life, (lease, now.minute, now.day))

    async def open_requests(self, namespace: str) -> int:
        name = self._of(namespace).leases
        packed = await self._guard("hvals", lambda: self._redis.execute("HVALS", name))
        return sum(int(_REQUESTS.unpack_from(lease)[0]) for lease in packed)

    # --- Redis

    def _of(self, namespace: str) -> CounterKeys:
        found = self._keys.get(namespace)
        if found is None:
            if len(self._keys) > 10_000:
                self._keys.clear()
                self._grants.clear()  # calls in flight go on
            found = self._keys[namespace] = CounterKeys(namespace)
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
        began = self._monotonic()
        try:
            found = await call()
        except (TimeoutError, RedisError, OSError) as error:
            now = self._monotonic()
            if self._failed_at is not None and began >= self._failed_at:
                self._paused_until = now + self._retry_pause_seconds
            self._failed_at = now
            self._errors.labels(name).inc()
            self._up.set(0)
            raise CountersUnavailable(f"Redis did not answer {name}: {type(error).__name__}") from error
        self._failed_at = None
        self._up.set(1)
        return found
