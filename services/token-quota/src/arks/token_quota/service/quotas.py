"""Reconciles ArksQuota: carries out resets, writes usage into status, says when a budget is used up."""

import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from arks.contracts.conditions import is_true, set_condition
from arks.contracts.resources import ArksQuota, ArksQuotaStatus, QuotaType, QuotaUsage
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import LimitReached, ResourceEvent
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.reconcile import Key, Requeue
from arks.token_quota.domain.limits import DAY_SECONDS, Budget, period_start_day
from arks.token_quota.service.index.index import Directory
from arks.token_quota.service.metering.ingest import now_of
from arks.token_quota.service.ports import BudgetSums, Ledger
from arks.token_quota.service.tokens import Events

READY, EXCEEDED = "Ready", "Exceeded"
LOOKS_PER_SECOND = 15.0
"""At all quotas together, so that thousands do not keep a core busy; their status then follows later."""


@dataclass(slots=True)
class Heads:
    """The last entry of each namespace's ledger: one question for all of them, now and then."""

    by_namespace: dict[str, int] = field(default_factory=dict)
    asked_at: float = float("-inf")
    """Monotonic seconds."""

    async def refresh(self, ledger: Ledger, now: float, every_seconds: float) -> None:
        """Raises LedgerUnavailable."""
        if now - self.asked_at >= every_seconds:
            self.asked_at = now
            self.by_namespace |= await ledger.heads(after=max(self.by_namespace.values(), default=0))

    def of(self, namespace: str) -> int:
        return self.by_namespace.get(namespace, 0)


@dataclass(frozen=True, slots=True)
class Summed:
    """What a budget's sums depend on: while it is the same, they are."""

    resource_version: str | None
    budget: Budget
    start_day: int
    head: int


@dataclass(frozen=True, slots=True)
class Quotas:
    resources: Resources[ArksQuota]
    directory: Directory
    ledger: Ledger
    events: Events
    clock: Clock
    every_seconds: float
    _heads: Heads = field(default_factory=Heads)
    _summed: dict[Key, Summed] = field(default_factory=dict)

    async def load(self) -> None:
        """Know the resets that were carried out before the first request is admitted."""
        for (namespace, quota), generation in (await self.ledger.resets()).items():
            self.directory.carried_out(Key(namespace, quota), generation)

    def first_seconds(self, key: Key) -> float:
        """When to look at a quota that has just been seen. After a start there are hundreds whose status is right."""
        quota = self.resources.cache.get(key)
        if quota is None or key in self._summed or not _is_told(quota):
            return 0.0
        return self.every_seconds * (zlib.crc32(str(key).encode()) / 2**32)

    async def reconcile(self, key: Key) -> Requeue | None:
        quota = self.resources.cache.get(key)
        if quota is None or quota.metadata.deletion_timestamp is not None:
            self._summed.pop(key, None)
            return None
        await self._reset(key, quota)
        budget = self.directory.budget(key.namespace, key.name)
        if budget is not None:
            now = now_of(self.clock)
            await self._heads.refresh(self.ledger, self.clock.monotonic(), self.every_seconds / 2)
            head, start_day = self._heads.of(key.namespace), period_start_day(budget.period, now.day)
            summed = Summed(quota.metadata.resource_version, budget, start_day, head)
            if self._summed.get(key) != summed:
                sums = await self.ledger.budget_sums(key.namespace, budget, now)
                await self._report(key, quota, sums, start_day)
                self._summed[key] = summed
        return Requeue(max(self.every_seconds, len(self._summed) / LOOKS_PER_SECOND))

    async def _reset(self, key: Key, quota: ArksQuota) -> None:
        wanted = quota.spec.reset_generation
        if wanted <= self.directory.resets(key):
            return
        done = await self.ledger.reset(key.namespace, key.name, wanted, now_of(self.clock))
        self.directory.carried_out(key, done)
        self._tell(key, quota, "reset", reason="Reset", message=f"usage starts again from 0 (reset {done})")

    async def _report(self, key: Key, quota: ArksQuota, sums: BudgetSums, start_day: int) -> None:
        used = {
            QuotaType.PROMPT: sums.prompt_tokens,
            QuotaType.RESPONSE: sums.completion_tokens,
            QuotaType.TOTAL: sums.prompt_tokens + sums.completion_tokens,
        }
        spent = [limit for limit in quota.spec.quotas if used[limit.quota_type] >= limit.value]
        now, generation = self.clock.now(), quota.metadata.generation
        before = quota.status.conditions if quota.status is not None else []
        conditions = set_condition(
            before, READY, True, "Counting", "usage is counted", now=now, observed_generation=generation
        )
        told = ", ".join(f"{limit.quota_type} {used[limit.quota_type]} of {limit.value}" for limit in spent)
        conditions = set_condition(
            conditions,
            EXCEEDED,
            bool(spent),
            "UsedUp" if spent else "WithinLimits",
            f"used up: {told}" if spent else "every limit has room",
            now=now,
            observed_generation=generation,
        )
        status = ArksQuotaStatus(
            quota_status=[self._usage(quota, limit.quota_type, used[limit.quota_type]) for limit in quota.spec.quotas],
            period_start=datetime.fromtimestamp(start_day * DAY_SECONDS, UTC) if start_day else None,
            reset_generation=self.directory.resets(key),
            observed_generation=generation,
            conditions=conditions,
        )
        if status != quota.status:
            await self.resources.patch_status(key, status)
        if bool(spent) != is_true(before, EXCEEDED):
            if spent:
                limit = LimitReached(
                    rule=spent[0].quota_type, limit=spent[0].value, used=used[spent[0].quota_type], quota=key.name
                )
                self._tell(key, quota, "exhausted", reason="UsedUp", message=f"used up: {told}", limit=limit)
            else:
                self._tell(key, quota, "available", reason="WithinLimits", message="every limit has room again")

    def _usage(self, quota: ArksQuota, kind: QuotaType, used: int) -> QuotaUsage:
        known = quota.status.quota_status if quota.status is not None else []
        same = next((usage for usage in known if usage.type is kind and usage.used == used), None)
        return same or QuotaUsage(
            type=kind, used=max(0, used), last_update_time=self.clock.now().replace(microsecond=0)
        )

    def _tell(
        self, key: Key, quota: ArksQuota, verb: str, *, reason: str, message: str, limit: LimitReached | None = None
    ) -> None:
        event = ResourceEvent(
            kind="ArksQuota",
            namespace=key.namespace,
            name=key.name,
            generation=quota.metadata.generation or 0,
            reason=reason,
            message=message,
            limit=limit,
        )
        self.events.publish_event(EventKind.QUOTA, verb, key, event)


def _is_told(quota: ArksQuota) -> bool:
    """Whether the status is of this spec."""
    status = quota.status
    return status is not None and status.observed_generation == quota.metadata.generation
