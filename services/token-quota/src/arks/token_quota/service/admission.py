"""Admission: whether a request may pass, and what it reserves. Answers with a grant, which is a lease for this request
and those that follow it, or with a rejection.
"""

import asyncio
import contextlib
import itertools
import secrets
import time
from typing import NamedTuple
from weakref import WeakValueDictionary

import structlog

from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.token_quota.domain import answers
from arks.token_quota.domain.access import (
    EndpointState,
    EngineTerms,
    KeyHolder,
    Permission,
    Policy,
    closed_limits,
    engine_terms,
    reject_key,
    reject_model,
    reject_use,
)
from arks.token_quota.domain.answers import Rejection
from arks.token_quota.domain.estimate import estimate, shrink_prompt
from arks.token_quota.domain.grant import Grant
from arks.token_quota.domain.headers import Headers, rate_limit_headers
from arks.token_quota.domain.lease import NO_LEASE, LeaseAmount, begins_in, lease_id, lease_validity, wanted
from arks.token_quota.domain.limits import Budget, violations
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.holding import Holding
from arks.token_quota.service.index import Index
from arks.token_quota.service.ports.counters import Counters, CountersUnavailable, GrantCommand, GrantResult
from arks.token_quota.service.ports.ledger import Ledger, LedgerUnavailable
from arks.token_quota.service.ports.metrics import AdmissionMetrics
from arks.token_quota.service.waking import Waking

log = structlog.get_logger(__name__)

_BEARER = "bearer "
_REBUILD_ATTEMPTS = 5
_NOT_READY = 503
_CROWD_RETRY_SECONDS = 1
"""For a request that finds too many others waiting at an endpoint whose engines are ready."""


class AdmitRequest(NamedTuple):
    """One request of a client, as Envoy's filter describes it."""

    authorization: str | None
    gateway: str
    model: str
    operation: str
    text_bytes: int
    max_tokens: int | None = None
    n: int | None = None
    demand: LeaseAmount = LeaseAmount()
    """What the worker expects to need besides it until the lease ends."""
    uses: frozenset[str] = frozenset()
    """What it wants that not every engine keeps."""
    remaining_milliseconds: int | None = None
    """How long the worker's present lease is still valid, if this call is for the one after it; no request waits."""
    prompt_tokens: int | None = None
    """The filter's estimate; None from one of an older version."""
    has_waited: bool = False
    """It has waited for its turn, so others that wait do not hold it."""


class Held(NamedTuple):
    """The request waits for an engine, if the gateway calls `wait`."""

    milliseconds: int
    """The longest that it takes."""


class Granted(NamedTuple):
    grant: Grant
    """Reservation of the request itself."""
    extra: LeaseAmount
    """What the lease holds besides the request."""
    milliseconds: int
    """Validity of the lease, from its begin."""
    default_completion_tokens: int
    """What a request without max_tokens reserves for each answer."""
    passes_outage: bool
    """Whether the policy lets requests pass while limits cannot be checked."""
    headers: Headers
    """x-ratelimit-*, for the client."""
    begins_in_milliseconds: int = 0
    engine: EngineTerms = EngineTerms()


class Admission:
    def __init__(
        self,
        index: Index,
        counters: Counters,
        ledger: Ledger,
        metrics: AdmissionMetrics,
        *,
        clock: Clock,
        default_completion_tokens: int,
        waking: Waking,
        holding: Holding,
    ) -> None:
        self._index = index
        self._counters = counters
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._waking = waking
        self._holding = holding
        self._default_completion_tokens = default_completion_tokens
        self._lease_prefix = secrets.token_hex(6)  # of this process; with the number it makes an id
        self._lease_numbers = itertools.count()
        self._rebuilding: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._next_warning = 0.0

    def policy(self, authorization: str | None) -> Policy | Rejection:
        """Look up the key's policy; return a rejection for an unknown, disabled or expired key."""
        holder = self._holder(authorization, Moment.of(self._clock.now()))
        return holder if isinstance(holder, Rejection) else holder.policy

    def _holder(self, authorization: str | None, now: Moment) -> KeyHolder | Rejection:
        key = bearer(authorization)
        if key is None:
            return answers.missing_key()
        holder = self._index.holder(key)
        rejection = reject_key(holder, now.seconds)
        if rejection is not None or holder is None:
            return rejection or answers.unknown_key()
        return holder

    def models(self, policy: Policy) -> list[str]:
        return self._index.models(policy)

    def model_created_seconds(self, policy: Policy, model: str) -> int:
        return self._index.model_created_seconds(policy, model)

    def reject_listing(self, policy: Policy, model: str) -> Rejection | None:
        """Rejection for a model that is not in the list of `policy`; None for a model in it, ready or not."""
        name = self._index.endpoint_of(policy, model)
        rejection = reject_model(policy, model, name, self._index.endpoint(policy.namespace, name))
        return None if rejection is not None and rejection.status == 503 else rejection

    async def admit(self, request: AdmitRequest) -> Granted | Held | Rejection:
        started = time.perf_counter()
        answer = await self._decide(request)
        self._metrics.admission_decided(_reason(answer), time.perf_counter() - started)
        return answer

    async def take_back(self, granted: Granted) -> None:
        """Return the lease of a grant that is not sent. While counters are away it returns later, as a lost one."""
        if granted.grant.lease != NO_LEASE:
            with contextlib.suppress(CountersUnavailable):
                now = Moment.of(self._clock.now())
                await self._counters.return_unsent_lease(granted.grant.namespace, granted.grant.lease, now)

    async def wait(self, request: AdmitRequest) -> Rejection | None:
        """Wait until an engine can take the request, which is then to be admitted. Reserves nothing."""
        holder = self._holder(request.authorization, Moment.of(self._clock.now()))
        if isinstance(holder, Rejection):
            return holder
        policy = holder.policy
        name = self._index.endpoint_of(policy, request.model)
        endpoint = self._index.endpoint(policy.namespace, name)
        rejection = reject_model(policy, request.model, name, endpoint)
        if endpoint is None or (rejection is not None and rejection.status != _NOT_READY):
            return rejection
        key = Key(policy.namespace, name)
        return None if await self._holding.wait(key, endpoint.model) else self._reject_waiting(request, key, endpoint)

    def _hold(self, request: AdmitRequest, key: Key, endpoint: EndpointState) -> Held | Rejection | None:
        """None if no autoscaler starts a replica."""
        start_seconds = self._waking.start_seconds(key, endpoint)
        if start_seconds is None and not endpoint.ready:
            return None
        in_time = endpoint.ready or (start_seconds or 0.0) <= self._holding.seconds
        if in_time and not request.has_waited and self._holding.has_room(key):
            return Held(int(self._holding.seconds * 1000))
        return self._reject_waiting(request, key, endpoint)

    def _reject_waiting(self, request: AdmitRequest, key: Key, endpoint: EndpointState) -> Rejection:
        """For a request that may not wait, or has waited in vain."""
        seconds = None if endpoint.ready else self._waking.retry_seconds(key, endpoint)
        return answers.endpoint_starting(request.model, seconds or _CROWD_RETRY_SECONDS)

    async def _decide(self, request: AdmitRequest) -> Granted | Held | Rejection:
        now = Moment.of(self._clock.now())
        holder = self._holder(request.authorization, now)
        if isinstance(holder, Rejection):
            return holder
        policy = holder.policy
        if not request.model:
            return answers.missing_model()
        name = self._index.endpoint_of(policy, request.model)
        endpoint = self._index.endpoint(policy.namespace, name)
        rejection = reject_model(policy, request.model, name, endpoint) or reject_use(endpoint, request.uses)
        if rejection is not None and endpoint is not None and rejection.status == _NOT_READY:
            return self._hold(request, Key(policy.namespace, name), endpoint) or rejection
        if rejection is not None or endpoint is None:
            return rejection or answers.unknown_model(request.model)
        if not request.has_waited and self._holding.has_queue(key := Key(policy.namespace, name)):
            return self._hold(request, key, endpoint) or answers.unknown_model(request.model)
        return await self._decide_ready(request, holder, name, endpoint, now)

    async def _decide_ready(
        self, request: AdmitRequest, holder: KeyHolder, name: str, endpoint: EndpointState, now: Moment
    ) -> Granted | Rejection:
        """For a model that the key may use, with a ready replica. `name`: the endpoint's."""
        policy = holder.policy
        permission = policy.permissions[name]
        budget = None
        if permission.quota is not None:
            budget = self._index.budget(policy.namespace, permission.quota)
            if budget is None and not policy.budgets_fail_open:
                return answers.quota_missing(permission.quota)
        engine = engine_terms(endpoint, request.model)
        named = request if name == request.model else request._replace(model=name)
        answer = await self._grant(policy, self._command(named, holder, permission, budget, now))
        return answer if isinstance(answer, Rejection) else answer._replace(engine=engine)

    def _command(
        self, request: AdmitRequest, holder: KeyHolder, permission: Permission, budget: Budget | None, now: Moment
    ) -> GrantCommand:
        tokens = estimate(
            request.text_bytes,
            request.max_tokens,
            request.n,
            request.operation,
            self._default_completion_tokens,
            prompt_tokens=request.prompt_tokens,
        )
        tokens = shrink_prompt(tokens, permission.rates, budget)
        begins = begins_in(now, request.remaining_milliseconds)
        begin, end = Moment(now.milliseconds + begins), holder.end_seconds
        if end is not None and end <= begin.seconds:
            begins, begin = 0, now
        return GrantCommand(
            lease=lease_id(f"{self._lease_prefix}{next(self._lease_numbers):x}", permission.quota or ""),
            gateway=request.gateway,
            namespace=holder.policy.namespace,
            token=holder.policy.name,
            endpoint=request.model,
            rates=permission.rates,
            budget=budget,
            tokens=tokens,
            demand=wanted(request.demand, tokens),
            now=now,
            validity=lease_validity(begin, end),
            begins_in_milliseconds=begins,
        )

    async def _grant(self, policy: Policy, command: GrantCommand) -> Granted | Rejection:
        try:
            result = await self._counters.grant(command)
            if result is None:
                result = await self._rebuild_and_grant(command)
        except (CountersUnavailable, LedgerUnavailable) as error:
            return self._decide_without_counters(policy, command, error)
        return self._granted(policy, command, result) if result.granted else self._reject(command, result)

    def _granted(self, policy: Policy, command: GrantCommand, result: GrantResult) -> Granted:
        return Granted(
            _reservation(command, command.lease, result.completion_tokens),
            result.extra,
            result.milliseconds,
            self._default_completion_tokens,
            closed_limits(policy, command.rates, command.budget) is None,
            tuple(rate_limit_headers(command.rates, result.rate_use, command.begin.seconds)),
            command.begins_in_milliseconds,
        )

    def _reject(self, command: GrantCommand, result: GrantResult) -> Rejection:
        now_seconds = command.begin.seconds
        broken = violations(result.account(command), command.tokens, now_seconds)
        rejection = answers.over_limit(broken, command.rates, result.rate_use, now_seconds)
        self._metrics.limit_hit(command.namespace, command.token, command.endpoint, rejection.reason)
        return rejection

    # --- fallback while counters are missing, or Redis is down

    async def _rebuild_and_grant(self, command: GrantCommand) -> GrantResult:
        """Fill the missing counters from the ledger, one caller at a time in each namespace. Raises
        CountersUnavailable and LedgerUnavailable.
        """
        lock = self._rebuilding.setdefault(command.namespace, asyncio.Lock())
        async with lock:
            for _ in range(_REBUILD_ATTEMPTS):
                result = await self._counters.grant(command)
                if result is not None:
                    return result
                await self._rebuild(command)
        raise CountersUnavailable(f"the counters of {command.namespace} could not be made from the ledger")

    async def _rebuild(self, command: GrantCommand) -> None:
        epoch = await self._counters.open(command.namespace, await self._ledger.last_seq())
        windows = await self._ledger.window_sums(command.namespace, command.token, command.endpoint, command.now)
        filled = await self._counters.fill_rate(epoch, command, windows)
        if filled and command.budget is not None:
            spent = await self._ledger.budget_sums(command.namespace, command.budget, command.now)
            await self._counters.fill_budget(epoch, command, spent)
        self._metrics.counters_rebuilt()

    def _decide_without_counters(self, policy: Policy, command: GrantCommand, error: Exception) -> Granted | Rejection:
        """The failure policy. A lease that Redis reserved before it failed is returned as lost."""
        closed = closed_limits(policy, command.rates, command.budget)
        self._metrics.decided_without_limits("closed" if closed else "open")
        self._warn(error)
        if closed is not None:
            return answers.limits_unavailable(closed)
        reservation = _reservation(command, NO_LEASE, command.tokens.completion_tokens)
        return Granted(reservation, LeaseAmount(), 0, self._default_completion_tokens, True, ())

    def _warn(self, error: Exception) -> None:
        """At most once a second; the metrics count every request."""
        now = self._clock.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + 1.0
            log.warning("limits cannot be checked: the failure policy decides", error=str(error))


def _reason(answer: Granted | Held | Rejection) -> str:
    """For metrics."""
    if isinstance(answer, Rejection):
        return answer.reason or answer.code
    return "granted" if isinstance(answer, Granted) else "held"


def bearer(authorization: str | None) -> str | None:
    """The key in an Authorization header, or None."""
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    return authorization[len(_BEARER) :].strip() or None


def _reservation(command: GrantCommand, lease: str, completion_tokens: int) -> Grant:
    return Grant(
        command.namespace, command.endpoint, command.token, lease, command.tokens.prompt_tokens, completion_tokens
    )
