"""The service with everything around it faked: what is routed, told and announced, and when."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from arks.contracts.conditions import find_condition, is_true
from arks.contracts.resources.endpoint import ArksEndpoint, ArksEndpointStatus
from arks.contracts.subjects import EventKind
from arks.endpoint_router.attach import Attachment
from arks.endpoint_router.domain import STALE_SECONDS, WHOLE, Decision, Reason
from arks.endpoint_router.metrics import DecisionCollector
from arks.endpoint_router.service import FINALIZER, EndpointRouter
from arks.events.v1.events_pb2 import ResourceEvent
from arks.events.v1.facts_pb2 import (
    REPLICA_STATE_DRAINING,
    REPLICA_STATE_READY,
    REPLICA_STATE_STARTING,
    EndpointFact,
    Replica,
    ReplicasFact,
)
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.cache import Cache
from arks.kit.reconcile import Key, Requeue
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


@pytest.fixture
def setup(clock: FakeClock) -> Setup:
    return Setup(clock)


@pytest.fixture
def serving(setup: Setup) -> Setup:
    """An endpoint with two ready replicas, under way."""
    setup.apply()
    setup.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    setup.router.begin()
    return setup


def test_the_gateway_is_opened_only_after_everything_was_routed(setup: Setup) -> None:
    setup.apply()
    setup.report()
    assert (False, []) == (setup.gateway.opened, setup.gateway.decisions)
    setup.router.begin()
    assert (True, ["team/chat"]) == (setup.gateway.opened, [name for name, _ in setup.gateway.decisions])


def test_a_replica_that_gets_ready_is_routed_at_once(serving: Setup) -> None:
    serving.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY, REPLICA_STATE_READY])
    assert {"a-0": 33_333, "a-1": 33_333, "a-2": 33_333} == serving.weights()


def test_a_replica_that_drains_gets_nothing_new(serving: Setup) -> None:
    serving.report(states=[REPLICA_STATE_READY, REPLICA_STATE_DRAINING])
    assert {"a-0": WHOLE, "a-1": 0} == serving.weights()


def test_an_application_that_changes_its_served_model_moves_to_the_other_endpoint(serving: Setup) -> None:
    serving.apply("next")
    serving.report(model="next")
    told = {name: decision.reason for name, decision in serving.gateway.decisions}
    assert {"team/chat": Reason.NO_APPLICATION, "team/next": Reason.ROUTED} == told


def test_an_application_with_some_replicas_unready_serves_with_the_others(serving: Setup) -> None:
    serving.report(states=[REPLICA_STATE_READY, REPLICA_STATE_STARTING])
    assert {"a-0": WHOLE, "a-1": 0} == serving.weights()


def test_a_static_entry_follows_its_application(serving: Setup) -> None:
    serving.apply(routeConfigs=[{"name": "arks-application-b", "weight": 3}])
    serving.report("b", model="something-else")
    assert {"a-0": 12_500, "a-1": 12_500, "b-0": 75_000} == serving.weights()


def test_load_that_differs_moves_weights(serving: Setup) -> None:
    serving.teach(8.0, 2.0)
    assert serving.weights()["a-0"] > serving.weights()["a-1"]


def test_a_load_report_that_changes_nothing_tells_nobody(serving: Setup) -> None:
    serving.load(4.0, 4.0)  # from here on weights are made from signals, which is news
    told, queued = len(serving.gateway.decisions), len(serving.queued)
    for _ in range(20):
        serving.clock.advance(0.25)
        serving.load(4.1, 4.0)
    assert (told, queued) == (len(serving.gateway.decisions), len(serving.queued))


def test_a_load_report_that_changes_nothing_costs_less_than_a_millisecond_of_cpu_time(serving: Setup) -> None:
    serving.report(states=[REPLICA_STATE_READY] * 4)
    reports = []
    for _ in range(1_000):
        serving.clock.advance(0.25)
        report = LoadReport(namespace="team", application="a")
        report.measured_at.FromDatetime(serving.clock.now())
        for n in range(4):
            report.replicas.add(name=f"a-{n}", running_requests=4, waiting_requests=0, drain_rate_per_second=4)
        reports.append(report.SerializeToString())
    start = time.process_time()
    for data in reports:
        serving.router.take_load(LoadReport.FromString(data))
    assert (time.process_time() - start) / len(reports) < 0.001


def test_load_of_an_unknown_application_or_replica_is_dropped(serving: Setup) -> None:
    before = len(serving.gateway.decisions)
    serving.load(1.0, application="z")
    assert before == len(serving.gateway.decisions)


def test_an_older_load_report_does_not_replace_a_newer_one(serving: Setup) -> None:
    serving.load(4.0, 4.0)
    late = LoadReport(namespace="team", application="a")
    late.measured_at.FromDatetime(serving.clock.now() - timedelta(seconds=1))
    late.replicas.add(name="a-0", running_requests=4, waiting_requests=100)
    serving.router.take_load(late)
    found = serving.router.explain(CHAT)
    assert found is not None
    assert isinstance(found["newest"], dict)
    assert 0.0 == found["newest"]["candidates"][0]["signals"]["waiting"]


def test_a_problem_of_a_replica_is_news_though_its_last_good_reading_is_the_same(serving: Setup) -> None:
    serving.load(4.0, 4.0)
    good_at = serving.clock.now()
    serving.clock.advance(0.25)
    report = LoadReport(namespace="team", application="a")
    report.measured_at.FromDatetime(serving.clock.now())
    report.replicas.add(name="a-0", problem="connection refused").measured_at.FromDatetime(good_at)
    serving.router.take_load(report)
    found = serving.router.explain(CHAT)
    assert found is not None
    assert isinstance(found["newest"], dict)
    assert "metrics could not read it: connection refused" in found["newest"]["candidates"][0]["reason"]


def test_weights_go_back_to_equal_when_load_reports_stop(serving: Setup) -> None:
    serving.teach(8.0, 2.0)
    assert serving.weights()["a-0"] > 2 * serving.weights()["a-1"]
    for _ in range(40):
        serving.clock.advance(0.5)
        serving.router.tick()
    assert {"a-0": 50_000, "a-1": 50_000} == serving.weights()


# --- facts that vanish


def test_ready_replicas_whose_fact_vanishes_are_kept_for_a_while(serving: Setup) -> None:
    told = len(serving.gateway.decisions)
    serving.replicas.apply(APP, None)
    serving.clock.advance(HOLD_SECONDS - 1)
    serving.router.tick()
    assert told == len(serving.gateway.decisions)
    serving.clock.advance(2)
    serving.router.tick()
    assert Reason.NO_APPLICATION == serving.gateway.decisions[-1][1].reason


def test_a_fact_that_comes_back_ends_the_wait(serving: Setup) -> None:
    told = len(serving.gateway.decisions)
    serving.replicas.apply(APP, None)
    serving.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    serving.clock.advance(HOLD_SECONDS + 1)
    serving.router.tick()
    assert told == len(serving.gateway.decisions)


def test_an_application_that_was_drained_goes_at_once(serving: Setup) -> None:
    serving.report(states=[REPLICA_STATE_DRAINING, REPLICA_STATE_DRAINING])
    serving.replicas.apply(APP, None)
    assert Reason.NO_APPLICATION == serving.gateway.decisions[-1][1].reason


async def _restarted(serving: Setup) -> Setup:
    """Another life of the router, with what the first one left in the status."""
    await serving.router.reconcile(CHAT)
    again = Setup(serving.clock)
    left = serving.endpoints.cache.get(CHAT)
    assert left is not None
    again.endpoints.cache.apply(CHAT, left)
    return again


async def test_after_a_restart_an_endpoint_of_which_nothing_is_known_is_not_emptied(serving: Setup) -> None:
    again = await _restarted(serving)
    again.router.begin()
    assert ([], ["team/chat"]) == (again.gateway.decisions, again.gateway.held)
    again.report()
    assert {"a-0": WHOLE} == again.weights()


async def test_after_a_restart_what_stays_unknown_is_given_up(serving: Setup) -> None:
    again = await _restarted(serving)
    again.router.begin()
    again.clock.advance(HOLD_SECONDS + 1)
    again.router.tick()
    assert Reason.NO_APPLICATION == again.gateway.decisions[-1][1].reason


async def test_after_a_restart_weights_go_on_from_where_they_were(serving: Setup) -> None:
    serving.teach(8.0, 2.0)
    again = await _restarted(serving)
    again.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    again.router.begin()
    before, after = serving.weights()["a-0"], again.weights()["a-0"]
    assert WHOLE / 2 < after <= before


async def test_a_restart_is_no_event_and_no_change_of_status(serving: Setup) -> None:
    again = await _restarted(serving)
    again.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    again.router.begin()
    await again.router.reconcile(CHAT)
    again.clock.advance(6)
    await again.router.reconcile(CHAT)
    assert ([], [serving.endpoints.statuses[-1]]) == (again.verbs(), again.endpoints.statuses)


async def test_after_a_restart_metrics_may_speak_before_the_status_says_that_they_are_silent(serving: Setup) -> None:
    serving.teach(4.0, 4.0)
    await serving.router.reconcile(CHAT)
    again = await _restarted(serving)
    again.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    again.router.begin()
    requeue = await again.router.reconcile(CHAT)
    assert ([], Requeue(5.0)) == (again.endpoints.statuses, requeue)


def test_a_lone_replica_is_not_decided_about_again_and_again(setup: Setup) -> None:
    setup.apply("chat")
    setup.report()
    setup.router.begin()
    setup.load(4.0)
    looks = []
    for _ in range(60):
        setup.clock.advance(1.0)
        setup.router.tick()
        found = setup.router.explain(CHAT)
        assert found is not None and isinstance(found["newest"], dict)
        looks.append((found["newest"]["ageSeconds"], found["newest"]["signalSource"]))
    assert 1 == sum(age == 0.0 for age, _ in looks)
    assert "engine" == looks[-1][1]


async def test_old_facts_may_go_only_when_all_endpoints_have_said_theirs(setup: Setup) -> None:
    setup.apply("chat")
    setup.apply("embed")
    setup.router.begin()
    await setup.router.reconcile(CHAT)
    assert not setup.facts.completed
    await setup.router.reconcile(Key("team", "embed"))
    assert setup.facts.completed


# --- what is told


async def test_the_status_says_what_is_routed_and_why(serving: Setup) -> None:
    await serving.router.reconcile(CHAT)
    (status,) = serving.endpoints.statuses
    assert {
        "routes": [{"name": "arks-application-a", "port": 8080, "weight": 1}],
        "readyReplicas": 2,
        "signalSource": "equal",
        "observedGeneration": 1,
        "weights": [
            {
                "application": "a",
                "replica": f"a-{n}",
                "address": f"127.0.0.1:{9000 + n}",
                "weight": 50_000,
                "reason": "an even share among 2 replicas; no load was reported, so it counts as average at best, "
                "not as idle",
            }
            for n in range(2)
        ],
    } == status.model_dump(mode="json", by_alias=True, exclude={"conditions"}, exclude_defaults=True)
    ready, accepted = find_condition(status.conditions, "Ready"), find_condition(status.conditions, "Accepted")
    assert ready is not None
    assert accepted is not None
    assert ("True", "Routed", "requests go to a (2 of 2 replicas ready, 100%)", 1) == (
        *(ready.status, ready.reason, ready.message),
        ready.observed_generation,
    )
    assert ("True", "Accepted", "") == (accepted.status, accepted.reason, accepted.message)


async def test_what_cannot_be_routed_is_said_in_a_condition(serving: Setup) -> None:
    serving.apply(
        routeConfigs=[{"name": "some-service"}], matchConfigs=[{"path": {"type": "Exact", "value": "/v1/completions"}}]
    )
    await serving.router.reconcile(CHAT)
    accepted = find_condition(serving.endpoints.statuses[-1].conditions, "Accepted")
    assert accepted is not None
    assert (
        "PartlyAccepted",
        "routeConfigs[0] 'some-service' is not the Service of an application (arks-application-<name>): "
        "nothing else can be routed here; matchConfigs narrow nothing here: every path of the API reaches the endpoint",
    ) == (accepted.reason, accepted.message)


async def test_conditions_change_their_time_only_with_their_status(serving: Setup) -> None:
    await serving.router.reconcile(CHAT)
    serving.clock.advance(60)
    serving.report(states=[REPLICA_STATE_READY])
    await serving.router.reconcile(CHAT)
    first, second = (find_condition(status.conditions, "Ready") for status in serving.endpoints.statuses)
    assert first is not None
    assert second is not None
    assert (first.last_transition_time, True) == (second.last_transition_time, first.message != second.message)


async def test_readiness_is_told_at_once_and_weights_later(serving: Setup) -> None:
    assert (CHAT, 0.0) == serving.queued[0]
    await serving.router.reconcile(CHAT)
    serving.queued.clear()
    serving.teach(8.0, 2.0)
    await serving.router.reconcile(CHAT)
    serving.report(states=[REPLICA_STATE_READY, REPLICA_STATE_READY])
    serving.teach(8.0, 2.0, seconds=2.0)
    serving.clock.advance(STALE_SECONDS + 0.5)
    serving.router.tick()
    assert {(CHAT, 1.0)} == set(serving.queued)
    before = len(serving.endpoints.statuses)
    await serving.router.reconcile(CHAT)
    serving.clock.advance(2.0)
    serving.router.tick()
    assert Requeue(3.0) == await serving.router.reconcile(CHAT)
    serving.clock.advance(3.0)
    assert await serving.router.reconcile(CHAT) is None
    assert before + 2 == len(serving.endpoints.statuses)


async def test_the_fact_holds_replicas_with_weights(serving: Setup) -> None:
    await serving.router.reconcile(CHAT)
    fact = serving.facts.written[CHAT]
    assert (True, "Routed", [("a-0", 9000, 50_000), ("a-1", 9001, 50_000)]) == (
        fact.ready,
        fact.reason,
        [(one.name, one.port, one.weight) for one in fact.replicas],
    )


async def test_an_unchanged_fact_keeps_its_time(serving: Setup) -> None:
    await serving.router.reconcile(CHAT)
    first = serving.facts.written[CHAT]
    serving.clock.advance(10)
    await serving.router.reconcile(CHAT)
    assert first is serving.facts.written[CHAT]


async def test_a_deleted_endpoint_loses_cluster_fact_and_the_other_controllers_finalizer(serving: Setup) -> None:
    await serving.router.reconcile(CHAT)
    found = serving.endpoints.cache.get(CHAT)
    assert found is not None
    deleting = found.metadata.model_copy(update={"deletion_timestamp": serving.clock.now(), "finalizers": [FINALIZER]})
    serving.endpoints.cache.apply(CHAT, found.model_copy(update={"metadata": deleting}))
    await serving.router.reconcile(CHAT)
    assert (["team/chat"], {}, [FINALIZER]) == (
        serving.gateway.removed,
        serving.facts.written,
        serving.endpoints.finalizers_removed,
    )


# --- events


async def test_events_tell_of_replicas_and_readiness(setup: Setup) -> None:
    setup.apply()
    setup.router.begin()
    await setup.router.reconcile(CHAT)
    setup.report()
    await setup.router.reconcile(CHAT)
    setup.report(states=[REPLICA_STATE_DRAINING])
    await setup.router.reconcile(CHAT)
    assert ["replica-added", "ready", "replica-removed", "not-ready"] == setup.verbs()
    assert ("ready", "requests go to a (1 of 1 replicas ready, 100%)") == (
        setup.events[0][1].replica.state,
        setup.events[1][1].message,
    )
    assert "a-0: draining: it finishes what it has" == setup.events[2][1].message


# --- refusals


async def test_a_refused_change_is_said_and_the_endpoint_stays_ready(serving: Setup) -> None:
    await serving.router.reconcile(CHAT)
    serving.gateway.refusing = True
    serving.router.refused("team/chat", "no such filter")
    await serving.router.reconcile(CHAT)
    accepted, ready = (
        find_condition(serving.endpoints.statuses[-1].conditions, name) for name in ("Accepted", "Ready")
    )
    assert accepted is not None
    assert ready is not None
    assert ("False", "ConfigurationRejected", "Envoy refused it: no such filter", "True", "rejected") == (
        *(accepted.status, accepted.reason, accepted.message),
        ready.status,
        serving.verbs()[-1],
    )


async def test_an_endpoint_that_envoy_never_took_is_not_ready(serving: Setup) -> None:
    serving.gateway.refusing, serving.gateway.serving = True, False
    serving.router.refused("team/chat", "no such filter")
    await serving.router.reconcile(CHAT)
    ready = find_condition(serving.endpoints.statuses[-1].conditions, "Ready")
    assert ready is not None
    assert ("False", "ConfigurationRejected") == (ready.status, ready.reason)


async def test_a_refusal_is_over_when_the_next_configuration_is_taken(serving: Setup) -> None:
    serving.gateway.refusing = True
    serving.router.refused("team/chat", "no such filter")
    await serving.router.reconcile(CHAT)
    serving.gateway.refusing = False
    await serving.router.reconcile(CHAT)
    accepted = find_condition(serving.endpoints.statuses[-1].conditions, "Accepted")
    assert accepted is not None
    assert "True" == accepted.status


# --- explanations


def test_explanations_hold_the_newest_decision_and_those_that_changed_something(serving: Setup) -> None:
    serving.teach(8.0, 2.0)
    found = serving.router.explain(CHAT)
    assert found is not None
    newest, changes = found["newest"], found["changes"]
    assert isinstance(newest, dict)
    assert isinstance(changes, list)
    first = newest["candidates"][0]
    assert ("a-0", 4.0, 2.0, 0.0) == (
        first["replica"],
        first["signals"]["running"],
        first["signals"]["requestsPerSecondAndPlace"],
        first["signals"]["ageSeconds"],
    )
    assert newest["candidates"] == changes[0]["candidates"]


def test_there_is_no_explanation_of_what_does_not_exist(serving: Setup) -> None:
    assert serving.router.explain(Key("team", "other")) is None


def test_decisions_can_be_scraped(serving: Setup) -> None:
    registry = CollectorRegistry()
    registry.register(DecisionCollector(serving.router))
    names = {"namespace": "team", "endpoint": "chat"}
    assert (1.0, 2.0, 0.0, 50_000.0) == (
        registry.get_sample_value("arks_endpoint_ready", names),
        registry.get_sample_value("arks_endpoint_ready_replicas", names),
        registry.get_sample_value("arks_endpoint_measured_replicas", names),
        registry.get_sample_value("arks_endpoint_replica_weight", names | {"application": "a", "replica": "a-1"}),
    )


async def test_how_an_endpoint_stands_with_its_gateway_is_in_the_status_and_looked_at_again(serving: Setup) -> None:
    serving.attachments.found = Attachment(False, "NoGatewayAPI", "no HTTPRoutes", look_again_seconds=60.0)
    assert Requeue(60.0) == await serving.router.reconcile(CHAT)
    condition = find_condition(serving.endpoints.statuses[-1].conditions, "Attached")
    assert condition is not None
    assert ("False", "NoGatewayAPI", "no HTTPRoutes") == (condition.status, condition.reason, condition.message)
    serving.attachments.found = None
    serving.clock.advance(10)
    assert None is await serving.router.reconcile(CHAT)
    assert None is find_condition(serving.endpoints.statuses[-1].conditions, "Attached")


async def test_a_gateway_s_opinion_does_not_make_an_endpoint_unready(serving: Setup) -> None:
    serving.attachments.found = Attachment(False, "GatewayRefuses", "no such listener", look_again_seconds=60.0)
    await serving.router.reconcile(CHAT)
    conditions = serving.endpoints.statuses[-1].conditions
    assert (True, True) == (is_true(conditions, "Ready"), is_true(conditions, "Accepted"))


async def test_an_endpoint_that_is_gone_is_forgotten_by_its_gateway(serving: Setup) -> None:
    serving.endpoints.cache.apply(CHAT, None)
    await serving.router.reconcile(CHAT)
    assert [CHAT] == serving.attachments.forgotten
