"""The service with everything around it faked."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from arks.contracts.resources.endpoint import ArksEndpoint, ArksEndpointStatus
from arks.contracts.subjects import EventKind
from arks.endpoint_router.domain import Decision
from arks.endpoint_router.domain.http_route import Attachment
from arks.endpoint_router.service.router import EndpointRouter
from arks.events.v1.events_pb2 import ResourceEvent
from arks.events.v1.facts_pb2 import (
    REPLICA_STATE_READY,
    EndpointFact,
    Replica,
    ReplicasFact,
)
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.cache import Cache
from arks.kit.reconcile import Key
from arks.kit.testing.clock import FakeClock

CHAT = Key("team", "chat")
APP = Key("team", "a")
HOLD_SECONDS = 10.0


class FakeEndpoints:
    def __init__(self) -> None:
        self.cache: Cache[ArksEndpoint] = Cache()
        self.statuses: list[ArksEndpointStatus] = []
        self.finalizers_removed: list[str] = []

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        assert isinstance(status, ArksEndpointStatus)
        self.statuses.append(status)
        resource = self.cache.get(key)
        assert resource is not None
        self.cache.apply(key, resource.model_copy(update={"status": status}))

    async def remove_finalizer(self, key: Key, finalizer: str) -> None:
        self.finalizers_removed.append(finalizer)


class FakeFacts:
    def __init__(self) -> None:
        self.written: dict[Key, EndpointFact] = {}
        self.completed = False

    def get(self, key: Key) -> EndpointFact | None:
        return self.written.get(key)

    def put(self, key: Key, fact: EndpointFact) -> None:
        self.written[key] = fact

    def remove(self, key: Key) -> None:
        self.written.pop(key, None)

    def complete(self) -> None:
        self.completed = True


@dataclass
class FakeGateway:
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    opened: bool = False
    serving: bool = True
    refusing: bool = False

    def route(self, name: str, decision: Decision, known_at: float) -> None:
        self.decisions.append((name, decision))

    def hold(self, name: str) -> None:
        self.held.append(name)

    def remove(self, name: str) -> None:
        self.removed.append(name)

    def open(self) -> None:
        self.opened = True

    def serves(self, name: str) -> bool:
        return self.serving

    def refuses(self, name: str) -> bool:
        return self.refusing


@dataclass
class FakeAttachments:
    found: Attachment | None = None
    forgotten: list[Key] = field(default_factory=list)

    async def keep(self, endpoint: ArksEndpoint) -> Attachment | None:
        return self.found

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)


@dataclass
class Setup:
    clock: FakeClock
    attachments: FakeAttachments = field(default_factory=FakeAttachments)
    endpoints: FakeEndpoints = field(default_factory=FakeEndpoints)
    replicas: Cache[ReplicasFact] = field(default_factory=Cache)
    facts: FakeFacts = field(default_factory=FakeFacts)
    gateway: FakeGateway = field(default_factory=FakeGateway)
    events: list[tuple[str, ResourceEvent]] = field(default_factory=list)
    queued: list[tuple[Key, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.router = EndpointRouter(
            endpoints=self.endpoints,
            replicas=self.replicas,
            facts=self.facts,
            gateway=self.gateway,
            publish=self._publish,
            clock=self.clock,
            hold_seconds=HOLD_SECONDS,
            attachments=self.attachments,
        )
        self.router.tell_with(lambda key, after: self.queued.append((key, after)))

    def _publish(self, kind: EventKind, verb: str, key: Key, event: ResourceEvent) -> None:
        self.events.append((verb, event))

    def apply(self, name: str = "chat", **spec: object) -> None:
        before = self.endpoints.cache.get(Key("team", name))
        generation = (before.metadata.generation or 0) + 1 if before is not None else 1
        manifest = {
            "metadata": {"name": name, "namespace": "team", "generation": generation},
            "spec": spec,
        }
        applied = ArksEndpoint.from_dict(manifest)
        if before is not None:
            applied = applied.model_copy(update={"status": before.status})
        self.endpoints.cache.apply(Key("team", name), applied)

    def report(
        self, application: str = "a", states: Sequence[int] = (REPLICA_STATE_READY,), model: str = "chat"
    ) -> None:
        base = 9000 + 100 * (ord(application) - ord("a"))
        members = [
            Replica(name=f"{application}-{n}", host="127.0.0.1", port=base + n, state=state)  # type: ignore[arg-type]
            for n, state in enumerate(states)
        ]
        fact = ReplicasFact(namespace="team", application=application, served_model=model, replicas=members)
        self.replicas.apply(Key("team", application), fact)

    def load(self, *drain_rates: float, application: str = "a", waiting: float = 0.0) -> None:
        report = LoadReport(namespace="team", application=application)
        report.measured_at.FromDatetime(self.clock.now())
        for n, rate in enumerate(drain_rates):
            report.replicas.add(
                name=f"{application}-{n}", running_requests=4, waiting_requests=waiting, drain_rate_per_second=rate
            )
        self.router.take_load(report)

    def teach(self, *drain_rates: float, seconds: float = 15.0) -> None:
        """Load reports, four a second."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.load(*drain_rates)

    def weights(self) -> dict[str, int]:
        """What the gateway was told last."""
        return {one.replica.id.name: one.weight for one in self.gateway.decisions[-1][1].candidates}

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.events]
