"""Statuses, facts, events, rejections and explanations of the router."""

from datetime import timedelta
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from arks.contracts.conditions import find_condition, is_true
from arks.contracts.facts import ReplicaState
from arks.contracts.load import STALE_SECONDS
from arks.contracts.resources import ArksEndpointStatus, EngineSignals
from arks.endpoint_router.adapters.metrics import DecisionCollector
from arks.endpoint_router.domain.http_route import Attachment
from arks.endpoint_router.service.router import FINALIZER, WEIGHT_SECONDS
from arks.endpoint_router.testing.harness import CHAT, RouterHarness
from arks.events.v1.load_pb2 import DemandReport, LoadReport
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.testing.clock import FakeClock

# --- statuses and facts


async def test_the_status_lists_weights_with_reasons(serving: RouterHarness) -> None:
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
                "group": "a",
                "reason": "an even share among 2 replicas; no load was reported; it counts by its slots",
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


async def test_entries_that_cannot_be_routed_are_in_a_condition(serving: RouterHarness) -> None:
    serving.apply(
        routeConfigs=[{"name": "some-service"}], matchConfigs=[{"path": {"type": "Exact", "value": "/v1/completions"}}]
    )
    await serving.router.reconcile(CHAT)
    accepted = find_condition(serving.endpoints.statuses[-1].conditions, "Accepted")
    assert accepted is not None
    assert (
        "PartlyAccepted",
        "routeConfigs[0] 'some-service' is not the Service of an application (arks-application-<name>): "
        "nothing else can be routed here; matchConfigs are ignored here: the endpoint accepts every API path",
    ) == (accepted.reason, accepted.message)


async def test_conditions_change_their_time_only_with_their_status(serving: RouterHarness) -> None:
    await serving.router.reconcile(CHAT)
    serving.clock.advance(60)
    serving.write_fact(states=[ReplicaState.READY])
    await serving.router.reconcile(CHAT)
    first, second = (find_condition(status.conditions, "Ready") for status in serving.endpoints.statuses)
    assert first is not None
    assert second is not None
    assert (first.last_transition_time, True) == (second.last_transition_time, first.message != second.message)


async def test_readiness_is_written_at_once_and_weights_later(serving: RouterHarness) -> None:
    assert (CHAT, 0.0) == serving.queued[0]
    await serving.router.reconcile(CHAT)
    serving.queued.clear()
    serving.report_drain_rates(8.0, 2.0)
    await serving.router.reconcile(CHAT)
    serving.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
    serving.report_drain_rates(8.0, 2.0, seconds=2.0)
    serving.clock.advance(STALE_SECONDS + 0.5)
    serving.report_load(8.0, 2.0, last_waiting=20.0)
    assert (1.0, 4.75) == (min(serving.queued)[1], max(serving.queued)[1])
    before = len(serving.endpoints.statuses)
    await serving.router.reconcile(CHAT)
    serving.clock.advance(2.0)
    serving.report_load(8.0, 2.0)
    assert Requeue(3.0) == await serving.router.reconcile(CHAT)
    serving.clock.advance(3.0)
    assert await serving.router.reconcile(CHAT) is None
    assert before + 2 == len(serving.endpoints.statuses)


async def test_weights_that_change_all_the_time_cost_one_reconcile_an_interval(
    serving: RouterHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = serving.endpoints.patch_status

    async def write_slowly(key: Key, status: BaseModel) -> None:
        serving.clock.advance(0.1)
        await write(key, status)

    monkeypatch.setattr(serving.endpoints, "patch_status", write_slowly)
    serving.write_fact(states=[ReplicaState.READY, ReplicaState.READY])
    serving.report_drain_rates(8.0, 2.0)
    written, requeued = [], []
    for waiting in (20.0, 0.0, 20.0):
        requeued.append(await serving.router.reconcile(CHAT))
        written.append(len(serving.endpoints.statuses))
        serving.queued.clear()
        serving.clock.advance(0.25)
        serving.report_load(8.0, 2.0, last_waiting=waiting)
        serving.clock.advance(serving.queued[0][1])
    assert [None, None, None] == requeued
    assert [1, 1] == [after - before for before, after in pairwise(written)]


async def test_the_fact_holds_replicas_with_weights(serving: RouterHarness) -> None:
    await serving.router.reconcile(CHAT)
    fact = serving.facts.facts[CHAT]
    assert (True, "Routed", [("a-0", 9000, 50_000), ("a-1", 9001, 50_000)]) == (
        fact.ready,
        fact.reason,
        [(replica.name, replica.port, replica.weight) for replica in fact.replicas],
    )


async def test_an_unchanged_fact_keeps_its_time(serving: RouterHarness) -> None:
    await serving.router.reconcile(CHAT)
    first = serving.facts.facts[CHAT]
    serving.clock.advance(10)
    await serving.router.reconcile(CHAT)
    assert first is serving.facts.facts[CHAT]


async def test_a_deleted_endpoint_loses_cluster_fact_and_finalizer(
    serving: RouterHarness,
) -> None:
    await serving.router.reconcile(CHAT)
    found = serving.endpoints.cache.get(CHAT)
    assert found is not None
    deleting = found.metadata.model_copy(update={"deletion_timestamp": serving.clock.now(), "finalizers": [FINALIZER]})
    serving.endpoints.put(found.model_copy(update={"metadata": deleting}))
    await serving.router.reconcile(CHAT)
    assert (["team/chat"], {}) == (serving.envoy.removed, serving.facts.facts)
    assert serving.endpoints.cache.get(CHAT) is None


# --- events


async def test_changes_of_replicas_and_readiness_are_events(harness: RouterHarness) -> None:
    harness.apply()
    harness.router.start()
    await harness.router.reconcile(CHAT)
    harness.write_fact()
    await harness.router.reconcile(CHAT)
    harness.write_fact(states=[ReplicaState.DRAINING])
    await harness.router.reconcile(CHAT)
    assert ["replica-added", "ready", "replica-removed", "not-ready"] == harness.events.verbs
    assert ("ready", "requests go to a (1 of 1 replicas ready, 100%)") == (
        harness.events.published[0].event.replica.state,
        harness.events.published[1].event.message,
    )
    assert "a-0: draining: it finishes what it has" == harness.events.published[2].event.message


# --- rejections


async def test_a_rejected_change_is_reported_and_the_endpoint_stays_ready(serving: RouterHarness) -> None:
    await serving.router.reconcile(CHAT)
    serving.envoy.rejecting = True
    serving.router.handle_rejection("team/chat", "no such filter")
    await serving.router.reconcile(CHAT)
    accepted, ready = (
        find_condition(serving.endpoints.statuses[-1].conditions, name) for name in ("Accepted", "Ready")
    )
    assert accepted is not None
    assert ready is not None
    assert ("False", "ConfigurationRejected", "Envoy rejected it: no such filter", "True", "rejected") == (
        *(accepted.status, accepted.reason, accepted.message),
        ready.status,
        serving.events.verbs[-1],
    )


async def test_an_endpoint_that_envoy_never_accepted_is_not_ready(serving: RouterHarness) -> None:
    serving.envoy.rejecting, serving.envoy.serving = True, False
    serving.router.handle_rejection("team/chat", "no such filter")
    await serving.router.reconcile(CHAT)
    ready = find_condition(serving.endpoints.statuses[-1].conditions, "Ready")
    assert ready is not None
    assert ("False", "ConfigurationRejected") == (ready.status, ready.reason)


async def test_a_rejection_ends_when_the_next_configuration_is_accepted(serving: RouterHarness) -> None:
    serving.envoy.rejecting = True
    serving.router.handle_rejection("team/chat", "no such filter")
    await serving.router.reconcile(CHAT)
    serving.envoy.rejecting = False
    await serving.router.reconcile(CHAT)
    accepted = find_condition(serving.endpoints.statuses[-1].conditions, "Accepted")
    assert accepted is not None
    assert "True" == accepted.status


# --- explanations


def test_explanations_hold_the_newest_decision_and_those_that_changed_something(serving: RouterHarness) -> None:
    serving.report_drain_rates(8.0, 2.0)
    found = serving.router.explain(CHAT)
    assert found is not None
    newest, changes = found["newest"], found["changes"]
    assert isinstance(newest, dict)
    assert isinstance(changes, list)
    first = newest["candidates"][0]
    assert ("a-0", 4.0, 2.0, 0.0) == (
        first["replica"],
        first["signals"]["running"],
        first["signals"]["requestsPerSecondAndSlot"],
        first["signals"]["ageSeconds"],
    )
    assert newest["candidates"] == changes[0]["candidates"]


def test_an_unknown_endpoint_has_no_explanation(serving: RouterHarness) -> None:
    assert serving.router.explain(Key("team", "other")) is None


def test_decisions_can_be_scraped(serving: RouterHarness) -> None:
    registry = CollectorRegistry()
    registry.register(DecisionCollector(serving.router))
    names = {"namespace": "team", "endpoint": "chat"}
    assert (1.0, 2.0, 0.0, 50_000.0) == (
        registry.get_sample_value("arks_endpoint_ready", names),
        registry.get_sample_value("arks_endpoint_ready_replicas", names),
        registry.get_sample_value("arks_endpoint_measured_replicas", names),
        registry.get_sample_value("arks_endpoint_replica_weight", names | {"application": "a", "replica": "a-1"}),
    )


async def test_the_attachment_is_in_the_status_and_checked_again(
    serving: RouterHarness,
) -> None:
    serving.attachments.found = Attachment(False, "NoGatewayAPI", "no HTTPRoutes", recheck_seconds=60.0)
    assert Requeue(60.0) == await serving.router.reconcile(CHAT)
    condition = find_condition(serving.endpoints.statuses[-1].conditions, "Attached")
    assert condition is not None
    assert ("False", "NoGatewayAPI", "no HTTPRoutes") == (condition.status, condition.reason, condition.message)
    serving.attachments.found = None
    serving.clock.advance(10)
    assert None is await serving.router.reconcile(CHAT)
    assert None is find_condition(serving.endpoints.statuses[-1].conditions, "Attached")


async def test_a_rejection_by_the_gateway_does_not_make_an_endpoint_unready(serving: RouterHarness) -> None:
    serving.attachments.found = Attachment(False, "GatewayRefuses", "no such listener", recheck_seconds=60.0)
    await serving.router.reconcile(CHAT)
    conditions = serving.endpoints.statuses[-1].conditions
    assert (True, True) == (is_true(conditions, "Ready"), is_true(conditions, "Accepted"))


async def test_endpoints_of_a_namespace_that_may_have_routes_now_are_reconciled(serving: RouterHarness) -> None:
    enqueued: list[Key] = []
    serving.router.connect(lambda key, after_seconds: enqueued.append(key))
    serving.attachments.changed("elsewhere")
    assert [] == enqueued
    serving.attachments.changed(CHAT.namespace)
    assert CHAT in enqueued


async def test_a_deleted_endpoint_is_forgotten_by_the_attachments(serving: RouterHarness) -> None:
    serving.endpoints.remove(CHAT)
    await serving.router.reconcile(CHAT)
    assert [CHAT] == serving.attachments.forgotten


# --- requests that wait for a replica


def held(requests: int, seconds: float = 0.0) -> DemandReport:
    return DemandReport(namespace="team", endpoint="chat", held=requests, holder="one", held_seconds=seconds)


async def test_a_condition_shows_how_many_requests_wait_for_what_and_since_when(serving: RouterHarness) -> None:
    serving.write_fact(states=())
    serving.router.handle_demand(held(3, 20.0))
    assert (CHAT, 0.0) == serving.queued[-1]
    assert Requeue(WEIGHT_SECONDS) == await serving.router.reconcile(CHAT)
    waits = find_condition(serving.endpoints.statuses[-1].conditions, "RequestsWait")
    assert waits is not None
    since = (serving.clock.now() - timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert ("True", "FirstReplicaStarts") == (waits.status, waits.reason)
    assert f"3 requests wait for the first replica of a since {since}" == waits.message


async def test_requests_that_replicas_take_in_turn_still_wait(serving: RouterHarness) -> None:
    serving.router.handle_demand(held(1))
    await serving.router.reconcile(CHAT)
    waits = find_condition(serving.endpoints.statuses[-1].conditions, "RequestsWait")
    assert waits is not None
    assert "Released" == waits.reason


async def test_the_number_of_waiting_requests_alone_is_written_every_few_seconds(serving: RouterHarness) -> None:
    serving.router.handle_demand(held(1))
    await serving.router.reconcile(CHAT)
    written = len(serving.endpoints.statuses)
    for number in range(2, 10):
        serving.clock.advance(0.5)
        serving.router.handle_demand(held(number, number / 2))
        await serving.router.reconcile(CHAT)
    assert written == len(serving.endpoints.statuses)
    serving.clock.advance(WEIGHT_SECONDS)
    serving.router.handle_demand(held(10, 10.0))
    await serving.router.reconcile(CHAT)
    waits = find_condition(serving.endpoints.statuses[-1].conditions, "RequestsWait")
    assert waits is not None
    assert waits.message.startswith("10 requests wait")


async def test_the_condition_goes_when_no_request_waits_or_their_holder_has_ended(serving: RouterHarness) -> None:
    serving.router.handle_demand(held(1))
    await serving.router.reconcile(CHAT)
    serving.router.handle_demand(held(0))
    assert await serving.router.reconcile(CHAT) is None
    assert find_condition(serving.endpoints.statuses[-1].conditions, "RequestsWait") is None
    serving.router.handle_demand(held(1))
    await serving.router.reconcile(CHAT)
    serving.clock.advance(60)
    await serving.router.reconcile(CHAT)
    assert find_condition(serving.endpoints.statuses[-1].conditions, "RequestsWait") is None


def test_requests_for_an_unknown_endpoint_are_not_kept(serving: RouterHarness) -> None:
    serving.router.handle_demand(DemandReport(namespace="team", endpoint="none", held=1, holder="one"))
    assert [CHAT] == serving.router.endpoints()


async def test_the_status_shows_once_what_pages_of_engines_look_like_and_lack(serving: RouterHarness) -> None:
    def report(*versions: str) -> None:
        load = LoadReport(namespace="team", application="a", page_versions=versions, missing_signals=["KV cache use"])
        load.measured_at.FromDatetime(serving.clock.now())
        serving.handle_load(load)

    await serving.router.reconcile(CHAT)
    serving.queued.clear()
    report("vLLM 0.6 to 0.8")
    assert [(CHAT, 0.0)] == serving.queued
    report("vLLM 0.6 to 0.8")
    assert [(CHAT, 0.0)] == serving.queued
    await serving.router.reconcile(CHAT)
    (engines,) = serving.endpoints.statuses[-1].engines
    assert ("a", ["vLLM 0.6 to 0.8"], ["KV cache use"]) == (engines.application, engines.looks_like, engines.lacks)


async def test_after_a_restart_the_status_keeps_what_pages_look_like(clock: FakeClock) -> None:
    harness = RouterHarness(clock)
    harness.apply()
    engines = [EngineSignals(application="a", looks_like=["SGLang 0.4.6 or newer"])]
    endpoint = harness.endpoints.cache.get(CHAT)
    assert endpoint is not None
    harness.endpoints.put(endpoint.model_copy(update={"status": ArksEndpointStatus(engines=engines)}))
    harness.write_fact()
    harness.router.start()
    await harness.router.reconcile(CHAT)
    assert engines == harness.endpoints.statuses[-1].engines
