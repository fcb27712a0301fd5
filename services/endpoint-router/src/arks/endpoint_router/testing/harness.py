"""The router with fakes for everything around it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.domain import Decision, Report
from arks.endpoint_router.domain.http_route import Attachment
from arks.endpoint_router.service.ports import EnvoyConfig
from arks.endpoint_router.service.router import EndpointRouter
from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.resource_events import ResourceEvents
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts, FakePublisher, FakeResources
from arks.kit.types import AsyncCallable

CHAT = Key("team", "chat")
APPLICATION = Key("team", "a")
HOLD_SECONDS = 10.0


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

    def hold(self, name: str, decision: Decision | None = None) -> None:
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

    def subscribe(self, changed: Callable[[str], None]) -> None:
        self.changed = changed

    @property
    def tasks(self) -> list[AsyncCallable]:
        return []


@dataclass
class RouterHarness:
    clock: FakeClock
    config: EnvoyConfig | None = None
    """Envoy's configuration; None: `envoy`, which records decisions."""
    attachments: FakeAttachments = field(default_factory=FakeAttachments)
    endpoints: FakeResources[ArksEndpoint] = field(default_factory=FakeResources)
    replicas: Cache[ReplicasFact] = field(default_factory=Cache)
    envoy: FakeEnvoyConfig = field(default_factory=FakeEnvoyConfig)
    events: FakePublisher = field(default_factory=FakePublisher)
    queued: list[tuple[Key, float]] = field(default_factory=list)
    """Keys that the router enqueued for its controller, with the delay in seconds."""

    def __post_init__(self) -> None:
        self.facts: FakeFacts[EndpointFact] = FakeFacts(self.clock)
        self.router = EndpointRouter(
            endpoints=self.endpoints,
            replicas=self.replicas,
            facts=self.facts,
            envoy=self.config or self.envoy,
            events=ResourceEvents(self.events),
            clock=self.clock,
            hold_seconds=HOLD_SECONDS,
            attachments=self.attachments,
        )
        self.router.connect(lambda key, after_seconds: self.queued.append((key, after_seconds)))

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
        self.endpoints.put(applied)

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

    def handle_load(self, report: LoadReport) -> None:
        self.router.handle_load(Report(report.SerializeToString()))

    def report_load(
        self, *drain_rates: float, application: str = "a", waiting: float = 0.0, last_waiting: float = 0.0
    ) -> None:
        """Report 4 running requests at each replica. `last_waiting`: more requests wait at the last one."""
        report = LoadReport(namespace="team", application=application)
        report.measured_at.FromDatetime(self.clock.now())
        for n, rate in enumerate(drain_rates):
            report.replicas.add(
                name=f"{application}-{n}", running_requests=4, waiting_requests=waiting, drain_rate_per_second=rate
            )
        report.replicas[-1].waiting_requests += last_waiting
        self.handle_load(report)

    def report_drain_rates(self, *drain_rates: float, seconds: float = 15.0) -> None:
        """Send load reports with these rates, four a second, until speeds are known."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.report_load(*drain_rates)

    def weights(self) -> dict[str, int]:
        """Return the weights of the last decision that was routed, by replica."""
        return {candidate.replica.id.name: candidate.weight for candidate in self.envoy.decisions[-1][1].candidates}
