"""What the service tells: status, facts, events, refusals, explanations."""

from prometheus_client import CollectorRegistry

from arks.contracts.conditions import find_condition, is_true
from arks.endpoint_router.adapters.metrics import DecisionCollector
from arks.endpoint_router.domain import STALE_SECONDS
from arks.endpoint_router.domain.http_route import Attachment
from arks.endpoint_router.service.router import FINALIZER
from arks.endpoint_router.testing.harness import CHAT, Setup
from arks.events.v1.facts_pb2 import (
    REPLICA_STATE_DRAINING,
    REPLICA_STATE_READY,
)
from arks.kit.reconcile import Key, Requeue

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
