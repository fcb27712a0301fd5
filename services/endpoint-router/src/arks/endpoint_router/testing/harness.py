"""The router with fakes for everything around it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksEndpoint, ArksEndpointStatus
from arks.contracts.subjects import EventKind
from arks.endpoint_router.domain import Decision
from arks.endpoint_router.domain.http_route import Attachment
from arks.endpoint_router.service.ports import EnvoyConfig
from arks.endpoint_router.service.router import EndpointRouter
from arks.events.v1.events_pb2 import ResourceEvent
from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.cache import Cache
from arks.kit.facts import fact_at
from arks.kit.key import Key
from arks.kit.resource_events import ResourceEvents
from arks.kit.testing.clock import FakeClock

CHAT = Key("team", "chat")
APPLICATION = Key("team", "a")
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


@dataclass
class FakeFacts:
    clock: FakeClock
    written: dict[Key, EndpointFact] = field(default_factory=dict)

    def put(self, key: Key, fact: EndpointFact) -> None:
        self.written[key] = fact_at(fact, self.clock.now(), self.written.get(key))

    def remove(self, key: Key) -> None:
        self.written.pop(key, None)


@dataclass
class FakeEnvoyConfig:
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    opened: bool = False
    serving: bool = True
    rejecting: bool = False

    def route(self, name: str, decision: Decision, known_at: float) -> None:
        self.decisions.append((name, decision))

    def hold(self, name: str) -> None:
        self.held.append(name)

    def remove(self, name: str) -> None:
        self.removed.append(name)

    def open(self) -> None:
        self.opened = True

    def is_served(self, name: str) -> bool:
        return self.serving

    def is_rejected(self, name: str) -> bool:
        return self.rejecting


@dataclass
class FakeAttachments:
    found: Attachment | None = None
    forgotten: list[Key] = field(default_factory=list)

    async def reconcile(self, endpoint: ArksEndpoint) -> Attachment | None:
        return self.found

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)


@dataclass
class RouterHarness:
    clock: FakeClock
    config: EnvoyConfig | None = None
    """Envoy's configuration; None: `envoy`, which records decisions."""
    attachments: FakeAttachments = field(default_factory=FakeAttachments)
    endpoints: FakeEndpoints = field(default_factory=FakeEndpoints)
    replicas: Cache[ReplicasFact] = field(default_factory=Cache)
    envoy: FakeEnvoyConfig = field(default_factory=FakeEnvoyConfig)
    events: list[tuple[str, ResourceEvent]] = field(default_factory=list)
    """Verbs and events that the router published."""
    queued: list[tuple[Key, float]] = field(default_factory=list)
    """Keys that the router enqueued for its controller, with the delay in seconds."""

    def __post_init__(self) -> None:
        self.facts = FakeFacts(self.clock)
        self.router = EndpointRouter(
            endpoints=self.endpoints,
            replicas=self.replicas,
            facts=self.facts,
            envoy=self.config or self.envoy,
            events=ResourceEvents(self),
            clock=self.clock,
            hold_seconds=HOLD_SECONDS,
            attachments=self.attachments,
        )
        self.router.connect(lambda key, after_seconds: self.queued.append((key, after_seconds)))

    def publish_event(
        self, kind: EventKind, verb: str, key: Key, event: ResourceEvent, event_id: str | None = None
    ) -> None:
        self.events.append((verb, event))

    def apply(self, name: str = "chat", **spec: object) -> None:
        """Apply an endpoint as a user does: its generation rises and its status stays."""
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

    def write_fact(
        self, application: str = "a", states: Sequence[ReplicaState] = (ReplicaState.READY,), model: str = "chat"
    ) -> None:
        """Write the fact of an application as app-deployer does."""
        base = 9000 + 100 * (ord(application) - ord("a"))
        replicas = [
            ReplicaFact(f"{application}-{n}", "127.0.0.1", base + n, state).to_message()
            for n, state in enumerate(states)
        ]
        fact = ReplicasFact(namespace="team", application=application, served_model=model, replicas=replicas)
        self.replicas.apply(Key("team", application), fact)

    def report_load(self, *drain_rates: float, application: str = "a", waiting: float = 0.0) -> None:
        report = LoadReport(namespace="team", application=application)
        report.measured_at.FromDatetime(self.clock.now())
        for n, rate in enumerate(drain_rates):
            report.replicas.add(
                name=f"{application}-{n}", running_requests=4, waiting_requests=waiting, drain_rate_per_second=rate
            )
        self.router.handle_load(report)

    def report_drain_rates(self, *drain_rates: float, seconds: float = 15.0) -> None:
        """Send load reports with these rates, four a second, until speeds are known."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.report_load(*drain_rates)

    def weights(self) -> dict[str, int]:
        """Return the weights of the last decision that was routed, by replica."""
        return {candidate.replica.id.name: candidate.weight for candidate in self.envoy.decisions[-1][1].candidates}

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.events]
