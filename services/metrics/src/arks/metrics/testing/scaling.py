"""Autoscalers with everything around them played by fakes."""

from typing import Any

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksAutoscaler, ArksAutoscalerStatus
from arks.events.v1.facts_pb2 import ReplicasFact, ScalingFact
from arks.kit.cache import Cache
from arks.kit.errors import ArksError
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.resource_events import ResourceEvents
from arks.kit.status import StatusWriter
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts, FakePublisher, FakeResources
from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.replicas import Reading, Replica, ReplicaReport
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.service.scaling.applications import Applications
from arks.metrics.service.scaling.autoscalers import Autoscalers
from arks.metrics.service.scaling.targets import Targets

SCALER, APPLICATION = Key("default", "chat"), Key("default", "app")


class Watch:
    """Pages of the ready replicas."""

    def __init__(self) -> None:
        self.pages: dict[Replica, ReplicaReport] = {}

    def reports(self) -> dict[Replica, ReplicaReport]:
        return self.pages


class FakePodAutoscalers:
    """What was carried out, and why the HorizontalPodAutoscaler does not act."""

    def __init__(self) -> None:
        self.carried_out: list[str] = []
        self.removed: list[Key] = []
        self.limit: Limit | None = None
        self.fault: ArksError | None = None

    async def carry_out(self, autoscaler: ArksAutoscaler) -> Limit | None:
        if self.fault is not None:
            raise self.fault
        self.carried_out.append(autoscaler.name)
        return self.limit

    async def remove(self, key: Key) -> None:
        self.removed.append(key)


class Harness:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.autoscalers = FakeResources[ArksAutoscaler]()
        self.replicas: Cache[ReplicasFact] = Cache()
        self.watches = {APPLICATION: Watch()}
        self.facts, self.published = FakeFacts[ScalingFact](clock), FakePublisher()
        self.pod_autoscalers: FakePodAutoscalers | None = None
        self.restart()

    def reports(self, key: Key) -> dict[Replica, ReplicaReport]:
        watch = self.watches.get(key)
        return {} if watch is None else watch.reports()

    def restart(self) -> None:
        """metrics, newly started."""
        self.applications = Applications(self.replicas, self, self.clock)
        self.scalers = Autoscalers(
            resources=self.autoscalers,
            targets=Targets(self.autoscalers.cache),
            applications=self.applications,
            facts=self.facts,
            events=ResourceEvents(self.published),
            clock=self.clock,
            statuses=StatusWriter(self.autoscalers, self.clock),
            interval_seconds=5.0,
            pod_autoscalers=self.pod_autoscalers,
        )

    def apply(self, name: str = "chat", **spec: Any) -> None:
        given = {"target": {"name": "app"}, "maxReplicas": 5, "objectives": {"slotUsePercent": 50}, **spec}
        metadata = {"name": name, "uid": name, "generation": 1}
        before = self.autoscalers.cache.get(Key("default", name))
        made = ArksAutoscaler.from_dict({"metadata": metadata, "spec": given})
        self.autoscalers.put(made.model_copy(update={"status": before.status if before else None}))

    def serve(
        self,
        ready: int,
        *,
        starting: int = 0,
        running: float = 0.0,
        tokens: float = 0.0,
        missing: str = "",
        runtime: str = "vllm",
    ) -> None:
        """Replicas of four slots with so many running requests each."""
        states = [ReplicaState.READY] * ready + [ReplicaState.STARTING] * starting
        facts = [
            ReplicaFact(f"app-{number}", "127.0.0.1", 9000 + number, state, slots=4)
            for number, state in enumerate(states)
        ]
        fact = ReplicasFact(
            namespace="default",
            application="app",
            served_model="m",
            runtime=runtime,
            desired=1,
            missing_reason=missing,
            missing_message=f"why {missing}",
            replicas=[replica.to_message() for replica in facts],
        )
        snapshot = Snapshot(running_requests=running, waiting_requests=0.0, generation_tokens=tokens)
        reading = Reading(snapshot, Rates(), self.clock.now(), 0.001)
        self.watches[APPLICATION].pages = {
            Replica(replica.name, replica.host, replica.port, 4): ReplicaReport(reading, "")
            for replica in facts
            if replica.state is ReplicaState.READY
        }
        self.replicas.apply(APPLICATION, fact)

    async def pass_(self, seconds: float = 5.0) -> None:
        for _ in range(int(seconds / 5)):
            self.clock.advance(5)
            assert Requeue(5.0) == await self.scalers.reconcile(SCALER)

    @property
    def wanted(self) -> int | None:
        fact = self.facts.get(SCALER)
        return None if fact is None else fact.replicas

    @property
    def status(self) -> ArksAutoscalerStatus:
        status = self.autoscalers.current(SCALER).status
        assert status is not None
        return status

    @property
    def limited(self) -> tuple[str, str, str]:
        condition = next(condition for condition in self.status.conditions if condition.type == "Limited")
        return condition.status.value, condition.reason, condition.message
