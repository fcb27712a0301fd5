"""For tests: fakes of what the use cases need, and resources made in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from arks.contracts.resources import ArksQuota, ArksToken, ArksTokenStatus
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import ResourceEvent
from arks.events.v1.facts_pb2 import EndpointAffinity, EndpointFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.adapters.metrics import PrometheusAdmissionMetrics, PrometheusMeteringMetrics
from arks.token_quota.domain.access import Policy
from arks.token_quota.domain.change import LedgerChange
from arks.token_quota.domain.keys import KeyClaim, KeyReading
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.limits import Account, BudgetUse, RateUse
from arks.token_quota.domain.time import Moment
from arks.token_quota.domain.token import TokenRecord, policy_of, record_of
from arks.token_quota.service.budgets import Budgets
from arks.token_quota.service.index import Index
from arks.token_quota.service.metering.charged_quotas import ChargedQuotas
from arks.token_quota.service.ports.counters import (
    ChangeWithBudgets,
    CountersUnavailable,
    Epoch,
    GrantCommand,
    GrantResult,
)
from arks.token_quota.service.ports.ledger import BudgetSums, Ledger, LedgerUnavailable, WindowSums
from arks.token_quota.testing.oracle import granted_completion_tokens, granted_extra, with_reserved

PEPPER = b"pepper of the tests"


def token(
    name: str = "tom",
    key: str | None = "sk-tom",
    *,
    namespace: str = "team",
    created: str = "2026-01-01T00:00:00Z",
    qos: Sequence[Mapping[str, Any]] | None = None,
    **spec: Any,
) -> ArksToken:
    given = {"token": key} if key is not None else {}
    return ArksToken.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksToken",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created, "generation": 1},
            "spec": {**given, "qos": qos if qos is not None else [{"arksEndpoint": {"name": "qwen"}}], **spec},
        }
    )


def quota(
    name: str = "q", *, namespace: str = "team", period: str = "lifetime", resets: int = 0, **limits: int
) -> ArksQuota:
    return ArksQuota.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksQuota",
            "metadata": {"name": name, "namespace": namespace, "generation": 1},
            "spec": {
                "quotas": [{"type": kind, "value": value} for kind, value in limits.items()]
                or [{"type": "total", "value": 100}],
                "period": period,
                "resetGeneration": resets,
            },
        }
    )


class Harness:
    """Caches as the watches fill them, with what admission and metering look up on top."""

    def __init__(self) -> None:
        self.tokens: Cache[TokenRecord] = Cache()
        self.quotas: Cache[ArksQuota] = Cache()
        self.endpoints: Cache[EndpointFact] = Cache()
        self.policies: Cache[Policy] = Cache()
        self.budgets = Budgets(self.quotas)
        self.index = Index(PEPPER, self.tokens, self.budgets, self.endpoints)
        self.charged_quotas = ChargedQuotas(self.policies)
        self.registry = CollectorRegistry()
        self.metrics = PrometheusAdmissionMetrics(self.registry)
        self.metering_metrics = PrometheusMeteringMetrics(self.registry)

    def add(self, *things: ArksToken | ArksQuota) -> None:
        for thing in things:
            key = Key(thing.namespace, thing.name)
            if isinstance(thing, ArksToken):
                self.tokens.apply(key, record_of(thing, self.index.hash))
                self.policies.apply(key, policy_of(thing))
            else:
                self.quotas.apply(key, thing)

    def claim(self, key: Key, *claims: KeyClaim) -> None:
        """As the keyring does after it has read the token's keys."""
        self.index.update_keys(key, KeyReading(None, None, claims))

    def endpoint(
        self,
        name: str = "qwen",
        *,
        namespace: str = "team",
        ready: bool = True,
        message: str = "",
        model: str = "",
        engine_model: str = "",
        unsupported: Sequence[str] = (),
        affinity: EndpointAffinity | None = None,
        created_seconds: int = 0,
    ) -> None:
        fact = EndpointFact(
            namespace=namespace,
            name=name,
            ready=ready,
            message=message,
            model=model,
            engine_model=engine_model,
            unsupported=unsupported,
            affinity=affinity,
            created_at=Timestamp(seconds=created_seconds),
        )
        self.endpoints.apply(Key(namespace, name), fact)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


class FakeCounters:
    """Decides by the domain's own rules on numbers that a test sets."""

    def __init__(self) -> None:
        self.rate_use = RateUse()
        self.budget_use = BudgetUse()
        self.away = False
        self.missing = 0
        """Calls of grant that find no counters."""
        self.stale = 0
        """Calls of fill that come too late."""
        self.granted: list[GrantCommand] = []
        self.filled: list[object] = []
        self.applied: list[LedgerChange] = []
        self.in_flight = 0
        """Requests whose usage is not known."""
        self.lost_leases: dict[str, int] = {}
        """By namespace, until they are returned."""
        self.unsent_leases: list[tuple[str, str]] = []
        """Namespace and id of those that were returned."""
        self.epoch = Epoch("e1", 0)
        self.life_id = "life1"
        self.lost = False
        """The next apply finds that Redis was wiped."""

    def _check(self) -> None:
        if self.away:
            raise CountersUnavailable("Redis is away")

    async def grant(self, command: GrantCommand) -> GrantResult | None:
        self._check()
        if self.missing:
            self.missing -= 1
            return None
        account = Account(command.rates, command.budget, self.rate_use, self.budget_use)
        completion = granted_completion_tokens(account, command.tokens)
        if completion is None:
            return GrantResult(False, 0, LeaseAmount(), 0, self.rate_use, self.budget_use)
        self.granted.append(command)
        account = with_reserved(account, LeaseAmount(1, command.tokens.prompt_tokens, completion))
        extra, milliseconds = granted_extra(account, command.demand, command.validity)
        account = with_reserved(account, extra)
        return GrantResult(True, completion, extra, milliseconds, account.rate_use, account.budget_use)

    async def open(self, namespace: str, upto: int, replace: str = "") -> Epoch:
        self._check()
        if replace == self.epoch.id:
            self.epoch = Epoch(replace + "+", upto)
        return self.epoch

    async def life(self) -> str:
        self._check()
        return self.life_id

    async def fill_rate(self, epoch: Epoch, command: GrantCommand, sums: WindowSums) -> bool:
        return self._fill(sums)

    async def fill_budget(self, epoch: Epoch, command: GrantCommand, sums: BudgetSums) -> bool:
        return self._fill(sums)

    def _fill(self, sums: object) -> bool:
        self._check()
        self.filled.append(sums)
        self.stale -= bool(self.stale)
        return not self.stale

    async def apply(self, namespace: str, after: int, changes: Sequence[ChangeWithBudgets], now: Moment) -> int | None:
        self._check()
        if self.lost:
            self.lost = False
            return None
        if after == self.epoch.cursor:
            self.applied.extend(change for change, _ in changes)
            self.epoch = Epoch(self.epoch.id, changes[-1][0].seq)
        return self.epoch.cursor

    async def return_lost_leases(self, namespace: str, now: Moment) -> int:
        self._check()
        return self.lost_leases.pop(namespace, 0)

    async def return_unsent_lease(self, namespace: str, lease: str, now: Moment) -> None:
        self._check()
        self.unsent_leases.append((namespace, lease))

    async def open_requests(self, namespace: str) -> int:
        self._check()
        return self.in_flight


class BrokenLedger:
    """A ledger that raises from each method until `broken` is False; then it is the real one."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.broken = True

    def __getattr__(self, name: str) -> Any:
        if self.broken:
            raise LedgerUnavailable("the database is away")
        return getattr(self._ledger, name)


@dataclass
class FakeRecords:
    """The owner's side of tokens: their records and what was written into status."""

    cache: Cache[TokenRecord]
    statuses: dict[Key, ArksTokenStatus] = field(default_factory=dict)
    writes: int = 0

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        assert isinstance(status, ArksTokenStatus)
        self.statuses[key] = status
        self.writes += 1
        record = self.cache.get(key)
        if record is not None:
            self.cache.apply(key, record.with_status(status))


@dataclass
class FakeResources:
    """The owner's side of a kind: a cache and what was written into status."""

    cache: Cache[Any]
    statuses: dict[Key, BaseModel] = field(default_factory=dict)

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        self.statuses[key] = status
        resource = self.cache.get(key)
        if resource is not None:
            self.cache.apply(key, resource.model_copy(update={"status": status}))

    async def add_finalizer(self, key: Key, finalizer: str) -> None: ...
    async def remove_finalizer(self, key: Key, finalizer: str) -> None: ...


@dataclass
class FakeEvents:
    published: list[tuple[str, str, str]] = field(default_factory=list)

    def publish_event(
        self, kind: EventKind, verb: str, key: Key, event: ResourceEvent, event_id: str | None = None
    ) -> None:
        self.published.append((f"{kind}.{verb}", str(key), event.reason))
