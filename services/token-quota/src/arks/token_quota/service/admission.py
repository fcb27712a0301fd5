"""Admission: may this request pass, and what does it reserve. Then a grant, or the refusal that its client gets."""

import asyncio
import time
from collections import deque
from typing import NamedTuple
from weakref import WeakValueDictionary

import structlog

from arks.kit.clock import Clock
from arks.token_quota.adapters.metrics import Metrics
from arks.token_quota.domain import answers
from arks.token_quota.domain.access import Leave, Policy, refuse_key, refuse_model
from arks.token_quota.domain.answers import Headers, Refusal
from arks.token_quota.domain.charge import Grant
from arks.token_quota.domain.estimate import estimate
from arks.token_quota.domain.limits import Account, Ask, Budget, violations
from arks.token_quota.service.index.index import Directory
from arks.token_quota.service.ports import (
    Counters,
    CountersUnavailable,
    Ledger,
    LedgerUnavailable,
    Moment,
    Reserve,
    Reserved,
)

log = structlog.get_logger(__name__)

_BEARER = "bearer "
_REBUILD_TRIES = 5
_MAX_TO_RELEASE = 10_000


class Call(NamedTuple):
    """What Envoy's filter asks."""

    authorization: str | None
    request_id: str
    model: str
    operation: str
    body_bytes: int
    max_tokens: int | None = None
    n: int | None = None


class Granted(NamedTuple):
    grant: Grant
    headers: Headers
    """x-ratelimit-*, for the client."""


class Admission:
    def __init__(
        self,
        directory: Directory,
        counters: Counters,
        ledger: Ledger,
        metrics: Metrics,
        clock: Clock,
        *,
        default_completion_tokens: int,
        reservation_seconds: float,
    ) -> None:
        self._directory = directory
        self._counters = counters
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._default_completion_tokens = default_completion_tokens
        self._reservation_milliseconds = int(reservation_seconds * 1000)
        self._rebuilding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._next_warning = 0.0
        self.to_release: deque[tuple[str, str]] = deque(maxlen=_MAX_TO_RELEASE)
        """(namespace, request id) of requests that were refused although they may hold a reservation."""

    def policy(self, authorization: str | None) -> Policy | Refusal:
        """Whose key it is."""
        key = bearer(authorization)
        if key is None:
            return answers.missing_key()
        holder = self._directory.holder(key)
        refusal = refuse_key(holder, self._clock.now().timestamp())
        if refusal is not None or holder is None:
            return refusal or answers.unknown_key()
        return holder.policy

    def models(self, policy: Policy) -> list[str]:
        return self._directory.models(policy)

    def refuse_model(self, policy: Policy, model: str) -> Refusal | None:
        """Why this model is not in the list of `policy`, or None. One that is not ready is."""
        refusal = refuse_model(policy, model, self._directory.endpoint(policy.namespace, model))
        return None if refusal is not None and refusal.status == 503 else refusal

    async def admit(self, call: Call) -> Granted | Refusal:
        started = time.perf_counter()
        answer = await self._decide(call)
        reason = "granted" if isinstance(answer, Granted) else answer.reason or answer.code
        self._metrics.decided(reason, time.perf_counter() - started)
        return answer

    async def _decide(self, call: Call) -> Granted | Refusal:
        policy = self.policy(call.authorization)
        if isinstance(policy, Refusal):
            return policy
        if not call.model:
            return answers.missing_model()
        refusal = refuse_model(policy, call.model, self._directory.endpoint(policy.namespace, call.model))
        if refusal is not None:
            return refusal
        leave = policy.endpoints[call.model]
        budget = None
        if leave.quota is not None:
            budget = self._directory.budget(policy.namespace, leave.quota)
            if budget is None and not policy.budgets_fail_open:
                return answers.quota_missing(leave.quota)
        return await self._reserve(policy, leave, self._request(call, policy, leave, budget))

    def _request(self, call: Call, policy: Policy, leave: Leave, budget: Budget | None) -> Reserve:
        now = int(self._clock.now().timestamp() * 1000)
        return Reserve(
            request_id=call.request_id,
            namespace=policy.namespace,
            token=policy.name,
            endpoint=call.model,
            operation=call.operation,
            rates=leave.rates,
            budget=budget,
            ask=estimate(call.body_bytes, call.max_tokens, call.n, call.operation, self._default_completion_tokens),
            now_milliseconds=now,
            deadline_milliseconds=now + self._reservation_milliseconds,
        )

    async def _reserve(self, policy: Policy, leave: Leave, request: Reserve) -> Granted | Refusal:
        try:
            reserved = await self._counters.reserve(request)
            if reserved is None:
                reserved = await self._rebuild_and_reserve(request)
        except (CountersUnavailable, LedgerUnavailable) as error:
            return self._without_counters(policy, leave, request, error)
        if reserved.granted:
            return self._grant(request, reserved)
        return self._refuse(request, reserved)

    def _grant(self, request: Reserve, reserved: Reserved) -> Granted:
        headers = answers.rate_limit_headers(request.rates, reserved.rate_use, request.now_milliseconds / 1000)
        return Granted(_grant(request, reserved.completion_tokens), tuple(headers))

    def _refuse(self, request: Reserve, reserved: Reserved) -> Refusal:
        now_seconds = request.now_milliseconds / 1000
        account = Account(request.rates, request.budget, reserved.rate_use, reserved.budget_use)
        refusal = answers.over_limit(
            violations(account, request.ask, now_seconds), request.rates, reserved.rate_use, now_seconds
        )
        who = (request.namespace, request.token, request.endpoint)
        self._metrics.limit_hits.labels(*who, refusal.reason).inc()
        return refusal

    # --- when counters are missing or away

    async def _rebuild_and_reserve(self, request: Reserve) -> Reserved:
        """Make the missing counters from the ledger, one caller at a time in each namespace. Raises
        CountersUnavailable and LedgerUnavailable.
        """
        lock = self._rebuilding.setdefault(request.namespace, asyncio.Lock())
        async with lock:
            for _ in range(_REBUILD_TRIES):
                reserved = await self._counters.reserve(request)
                if reserved is not None:
                    return reserved
                await self._rebuild(request)
        raise CountersUnavailable(f"the counters of {request.namespace} could not be made from the ledger")

    async def _rebuild(self, request: Reserve) -> None:
        now = Moment(request.now_milliseconds)
        epoch = await self._counters.open(request.namespace, await self._ledger.last_seq())
        windows = await self._ledger.window_sums(request.namespace, request.token, request.endpoint, now)
        filled = await self._counters.fill_rate(epoch, request, windows)
        if filled and request.budget is not None:
            spent = await self._ledger.budget_sums(request.namespace, request.budget, now)
            await self._counters.fill_budget(epoch, request, spent)
        self._metrics.rebuilds.inc()

    def _without_counters(self, policy: Policy, leave: Leave, request: Reserve, error: Exception) -> Granted | Refusal:
        """The failure policy: each kind of limit that the request is under has to allow it."""
        closed = None
        if request.budget is not None and not policy.budgets_fail_open:
            closed = "Quotas"
        elif leave.rates.limited and not policy.rates_fail_open:
            closed = "Rate limits"
        self._metrics.failures.labels("closed" if closed else "open").inc()
        self._warn(error)
        if closed is None:
            return Granted(_grant(request, request.ask.completion_tokens), ())
        # The call may have reached Redis all the same: then a request that never runs would be charged in the end.
        self.to_release.append((request.namespace, request.request_id))
        return answers.counters_away(closed)

    def _warn(self, error: Exception) -> None:
        """Once a second is enough; the metrics count every one."""
        now = self._clock.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + 1.0
            log.warning("limits cannot be checked: the failure policy decides", error=str(error))


def bearer(authorization: str | None) -> str | None:
    """The key in an Authorization header, or None."""
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    return authorization[len(_BEARER) :].strip() or None


def _grant(request: Reserve, completion_tokens: int) -> Grant:
    ask: Ask = request.ask
    return Grant(request.namespace, request.endpoint, request.token, ask.prompt_tokens, completion_tokens)
