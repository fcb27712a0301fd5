"""Reconciles ArksQuota: carries out resets, writes usage into its status, publishes when a budget is used up."""

import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from arks.contracts.conditions import is_true, set_condition
from arks.contracts.resources import ArksQuota, ArksQuotaStatus, Condition, QuotaLimit, QuotaType, QuotaUsage
from arks.events.v1.events_pb2 import LimitReached
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.resource_events import ResourceEvents
from arks.token_quota.domain.limits import Budget
from arks.token_quota.domain.time import DAY_SECONDS, Moment, period_start_day
from arks.token_quota.service.budgets import Budgets
from arks.token_quota.service.ports.ledger import BudgetSums, Ledger

READY, EXCEEDED = "Ready", "Exceeded"
RECONCILES_PER_SECOND = 15.0
"""Of all quotas together, so that thousands do not keep a core busy; their status then follows later."""

Used = dict[QuotaType, int]


@dataclass(slots=True)
class LedgerHeads:
    """The last entry of each namespace: one query for all namespaces at an interval."""

    by_namespace: dict[str, int] = field(default_factory=dict)
    queried_at_seconds: float = float("-inf")
    """Monotonic."""

    async def refresh(self, ledger: Ledger, now_seconds: float, interval_seconds: float) -> None:
        """Raises LedgerUnavailable."""
        if now_seconds - self.queried_at_seconds >= interval_seconds:
            self.queried_at_seconds = now_seconds
            self.by_namespace |= await ledger.heads(after=max(self.by_namespace.values(), default=0))

    def of(self, namespace: str) -> int:
        return self.by_namespace.get(namespace, 0)


@dataclass(frozen=True, slots=True)
class SumInputs:
    """Cache key of a budget's sums and of the status made from them."""

    resource_version: str | None
    budget: Budget
    start_day: int
    head: int


@dataclass(frozen=True, slots=True)
class QuotaReconciler:
    resources: Resources[ArksQuota]
    budgets: Budgets
    ledger: Ledger
    events: ResourceEvents
    clock: Clock
    interval_seconds: float
    _heads: LedgerHeads = field(default_factory=LedgerHeads)
    _reported: dict[Key, SumInputs] = field(default_factory=dict)
    _postponed: set[Key] = field(default_factory=set)

    async def load_resets(self) -> None:
        """Enter completed resets before the first request is admitted."""
        for (namespace, quota), generation in (await self.ledger.resets()).items():
            self.budgets.reset_done(Key(namespace, quota), generation)

    async def reconcile(self, key: Key) -> Requeue | None:
        quota = self.resources.cache.get(key)
        if quota is None or quota.metadata.deletion_timestamp is not None:
            self._reported.pop(key, None)
            self._postponed.discard(key)
            return None
        if key not in self._reported and key not in self._postponed and _status_is_current(quota):
            self._postponed.add(key)
            return Requeue(self._first_delay_seconds(key))
        await self._reset(key, quota)
        await self._update_status(key, quota)
        return Requeue(self._pause_seconds())

    def _pause_seconds(self) -> float:
        return max(self.interval_seconds, len(self.resources.cache) / RECONCILES_PER_SECOND)

    def _first_delay_seconds(self, key: Key) -> float:
        """Spreads the first sums over an interval: after a start there are hundreds of quotas with current status."""
        return self._pause_seconds() * (zlib.crc32(str(key).encode()) / 2**32)

    async def _reset(self, key: Key, quota: ArksQuota) -> None:
        desired = quota.spec.reset_generation
        if desired <= self.budgets.resets(key):
            return
        done = await self.ledger.reset(key.namespace, key.name, desired, Moment.of(self.clock.now()))
        self.budgets.reset_done(key, done)
        self.events.publish(quota, "reset", reason="Reset", message=f"usage starts again from 0 (reset {done})")

    async def _update_status(self, key: Key, quota: ArksQuota) -> None:
        budget = self.budgets.of(key.namespace, key.name)
        if budget is None:
            return
        now = Moment.of(self.clock.now())
        await self._heads.refresh(self.ledger, self.clock.monotonic(), self.interval_seconds / 2)
        start_day = period_start_day(budget.period, now.day)
        inputs = SumInputs(quota.metadata.resource_version, budget, start_day, self._heads.of(key.namespace))
        if self._reported.get(key) != inputs:
            await self._report(key, quota, await self.ledger.budget_sums(key.namespace, budget, now), start_day)
            self._reported[key] = inputs

    async def _report(self, key: Key, quota: ArksQuota, sums: BudgetSums, start_day: int) -> None:
        used = {
            QuotaType.PROMPT: sums.prompt_tokens,
            QuotaType.RESPONSE: sums.completion_tokens,
            QuotaType.TOTAL: sums.prompt_tokens + sums.completion_tokens,
        }
        spent = [limit for limit in quota.spec.quotas if used[limit.quota_type] >= limit.value]
        before = quota.status.conditions if quota.status is not None else []
        status = ArksQuotaStatus(
            quota_status=[self._usage(quota, limit.quota_type, used[limit.quota_type]) for limit in quota.spec.quotas],
            period_start=datetime.fromtimestamp(start_day * DAY_SECONDS, UTC) if start_day else None,
            reset_generation=self.budgets.resets(key),
            observed_generation=quota.metadata.generation,
            conditions=self._conditions(before, quota.metadata.generation, spent, used),
        )
        if status != quota.status:
            await self.resources.patch_status(key, status)
        if bool(spent) != is_true(before, EXCEEDED):
            self._publish_exceeded(quota, spent, used)

    def _conditions(
        self, before: list[Condition], generation: int | None, spent: list[QuotaLimit], used: Used
    ) -> list[Condition]:
        now = self.clock.now()
        conditions = set_condition(
            before, READY, True, "Counting", "Metering is active", now=now, observed_generation=generation
        )
        return set_condition(
            conditions,
            EXCEEDED,
            bool(spent),
            "UsedUp" if spent else "WithinLimits",
            _spent_message(spent, used) if spent else "Within all limits",
            now=now,
            observed_generation=generation,
        )

    def _usage(self, quota: ArksQuota, quota_type: QuotaType, used: int) -> QuotaUsage:
        known = quota.status.quota_status if quota.status is not None else []
        same = next((usage for usage in known if usage.type is quota_type and usage.used == used), None)
        return same or QuotaUsage(
            type=quota_type, used=max(0, used), last_update_time=self.clock.now().replace(microsecond=0)
        )

    def _publish_exceeded(self, quota: ArksQuota, spent: list[QuotaLimit], used: Used) -> None:
        if not spent:
            self.events.publish(quota, "available", reason="WithinLimits", message="within all limits again")
            return
        first = spent[0].quota_type
        limit = LimitReached(rule=first, limit=spent[0].value, used=used[first], quota=quota.name)
        self.events.publish(quota, "exhausted", reason="UsedUp", message=_spent_message(spent, used), limit=limit)


def _spent_message(spent: list[QuotaLimit], used: Used) -> str:
    return "used up: " + ", ".join(f"{limit.quota_type} {used[limit.quota_type]} of {limit.value}" for limit in spent)


def _status_is_current(quota: ArksQuota) -> bool:
    status = quota.status
    return status is not None and status.observed_generation == quota.metadata.generation
